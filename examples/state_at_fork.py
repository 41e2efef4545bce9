"""The state that a program has at a fork reaches its processes: lambdas, closures, globals, patched functions.

    serverless-mp run examples/state_at_fork.py

Prints:

    [11, 12, 13]
    patched
"""

import multiprocessing
import textwrap

settings = {"offset": 0}


def shift(n):
    return n + settings["offset"]


if __name__ == "__main__":
    settings["offset"] = 10
    textwrap.shorten = lambda *_: "patched"
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        print(pool.map(shift, [1, 2, 3]), flush=True)
    process = context.Process(target=lambda: print(textwrap.shorten("a text", 1)))
    process.start()
    process.join()

"""The processes of a forkserver have the environment with which the server has begun, and others have the current one."""

import multiprocessing
import os
import sys


def show(name):
    print(name, os.environ.get("A"), os.environ.get("B"), sys.orig_argv[-1:] if name == "fork" else None)
    print(sorted(word for word in globals() if word in {"__annotations__", "__file__", "__spec__"}))


def start(method):
    process = multiprocessing.get_context(method).Process(target=show, args=(method,))
    process.start()
    process.join()


if __name__ == "__main__":
    os.environ["A"] = "1"
    start("forkserver")
    del os.environ["A"]
    os.environ["B"] = "2"
    for method in ("forkserver", "spawn", "fork"):
        start(method)
    print(sys.orig_argv[-1:], sys.argv[1:])
    show("program")

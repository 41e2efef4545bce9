"""Much output, and an end that flushes nothing: all of it is seen, in order, before the process is seen to have ended."""

import multiprocessing
import os


def flood():
    for n in range(20_000):
        print(f"{n:06}", "x" * 193, flush=True)
    os._exit(3)


if __name__ == "__main__":
    process = multiprocessing.Process(target=flood)
    process.start()
    process.join()
    print("code", process.exitcode, flush=True)

"""One process now, and a second one after a line on standard input."""

import multiprocessing
import sys


def nothing():
    pass


if __name__ == "__main__":
    for _ in range(2):
        process = multiprocessing.Process(target=nothing)
        process.start()
        process.join()
        print("code", process.exitcode, flush=True)
        sys.stdin.readline()

"""A process now, and one when the program's user says so."""

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

"""Much output and an exit without a flush: all output appears, in order, before the process counts as finished."""

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

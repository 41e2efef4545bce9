"""A pool that works for longer than the function's time limit allows one worker."""

import multiprocessing
import os
import time


def task(n):
    time.sleep(0.3)
    return n, os.getpid()


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        results = pool.map(task, range(40), chunksize=1)
    print("right", [n for n, _ in results] == list(range(40)))
    print("replaced", len({pid for _, pid in results}) > 2)

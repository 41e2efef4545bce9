"""A pool in the middle of a map, for tests that end its parent."""

import multiprocessing
import os
import time


def slow(_):
    time.sleep(0.5)
    return os.getpid()


if __name__ == "__main__":
    with multiprocessing.Pool(4) as pool:
        print("pids", os.getpid(), *sorted(set(pool.map(slow, range(8), chunksize=1))), flush=True)
        pool.map(slow, range(100_000), chunksize=1)

"""A pool whose workers are killed while they work: every third task may kill the first worker that begins it."""

import multiprocessing
import os
import random
import signal


def begin(marks):
    global begun
    begun = marks


def task(n):
    with begun.get_lock():
        begun[n] += 1
        dies = n % 3 == 0 and begun[n] == 1 and random.random() < 0.7
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


if __name__ == "__main__":
    begun = multiprocessing.Array("i", 30)
    with multiprocessing.Pool(4, begin, (begun,)) as pool:
        results = pool.map(task, range(30), chunksize=1)
    print("right", results == [n * n for n in range(30)])
    print("begun at most twice", max(begun), "again", sum(begun) - 30 > 0)

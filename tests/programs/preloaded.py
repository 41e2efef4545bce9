"""Three processes, twice; each reports its parent, whether it was preloaded, a random number, and its threads."""

import multiprocessing
import os
import sys
import threading

import helper
import numpy as np


def look(barrier, queue):
    barrier.wait()
    row = os.getppid(), "numpy" in helper.BEFORE, np.random.random(), threading.active_count()  # noqa: NPY002 - the old one
    queue.put(row)


def tell():
    print("preloaded", "numpy" in helper.BEFORE, flush=True)


def main():
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        barrier, queue = context.Barrier(3), context.SimpleQueue()
        processes = [context.Process(target=look, args=(barrier, queue)) for _ in range(3)]
        for process in processes:
            process.start()
        parents, preloaded, numbers, threads = zip(*(queue.get() for _ in processes), strict=True)
        for process in processes:
            process.join()
        print("parents", len({*parents}), "preloaded", sum(preloaded), "random", len({*numbers}), "threads", {*threads})
    if len(sys.argv) > 1:
        os.environ["OF_ANOTHER"] = "1"
        process = context.Process(target=tell)
        process.start()
        process.join()


if __name__ == "__main__":
    main()

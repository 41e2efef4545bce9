"""The package `multiprocess`, which is like multiprocessing, but also sends lambdas and nested functions."""

import multiprocess
from multiprocess.pool import Pool

OFFSET = 3


def main():
    factor = 2
    with Pool(2) as pool:
        print(pool.map(lambda n: n * factor + OFFSET, range(5)))
    queue = multiprocess.Queue()
    process = multiprocess.Process(target=lambda: queue.put(lambda: factor))
    process.start()
    print(queue.get()())
    process.join()
    print(process.exitcode, multiprocess.active_children())


main()

"""A value that processes on different machines increment under its lock.

    serverless-mp run examples/shared_counter.py

Prints:

    400
"""

import multiprocessing


def count(total, times):
    for _ in range(times):
        with total.get_lock():
            total.value += 1


if __name__ == "__main__":
    total = multiprocessing.Value("i", 0)
    workers = [multiprocessing.Process(target=count, args=(total, 100)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(total.value)

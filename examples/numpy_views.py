"""A shared array seen through numpy: each process fills its own rows.

    serverless-mp run examples/numpy_views.py

Prints:

    [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
"""

import multiprocessing

import numpy as np

ROWS, COLUMNS = 3, 3


def fill(array, row):
    with array.get_lock():
        view = np.frombuffer(array.get_obj(), dtype=np.int64).reshape(ROWS, COLUMNS)
        view[row] = row


if __name__ == "__main__":
    array = multiprocessing.Array("q", ROWS * COLUMNS)
    workers = [multiprocessing.Process(target=fill, args=(array, row)) for row in range(ROWS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(np.frombuffer(array.get_obj(), dtype=np.int64).reshape(ROWS, COLUMNS).tolist())

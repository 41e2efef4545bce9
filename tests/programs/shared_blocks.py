"""numpy over named shared memory, a shared list, and a manager that deletes both."""

import multiprocessing
from multiprocessing import shared_memory
from multiprocessing.managers import SharedMemoryManager

import numpy as np


def rows(name, shape, begin, end):
    block = shared_memory.SharedMemory(name=name)
    table = np.ndarray(shape, dtype=np.float64, buffer=block.buf)
    table[begin:end] = np.arange(begin, end)[:, None]
    del table
    block.close()


def note(items, index):
    items[index] = f"p{index}"


if __name__ == "__main__":
    with SharedMemoryManager() as manager:
        shape = (40, 50)
        block = manager.SharedMemory(8 * shape[0] * shape[1])
        items = manager.ShareableList(["..", "..", 3.5, None])
        processes = [multiprocessing.Process(target=rows, args=(block.name, shape, n, n + 10)) for n in range(0, 40, 10)]
        processes += [multiprocessing.Process(target=note, args=(items, n)) for n in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        table = np.ndarray(shape, dtype=np.float64, buffer=block.buf)
        print(table.sum(), table[:, 0].tolist() == list(range(40)))
        print(list(items))
        del table
        name = block.name
    try:
        shared_memory.SharedMemory(name=name)
    except FileNotFoundError as e:
        print("gone", e.errno)

"""A manager's server runs on the program's machine; the program's processes in functions reach it."""

import multiprocessing
import os


def work(shared, n):
    shared[n] = os.getpid()


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        processes = [multiprocessing.Process(target=work, args=(shared, n)) for n in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print("ids", [shared[n] == process.pid for n, process in enumerate(processes)])
        print("server here", manager._process.pid < 2**22)

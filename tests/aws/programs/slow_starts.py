"""Processes whose objects take long to pickle."""

import multiprocessing
import sys
import time


class Slow:
    def __reduce__(self):
        time.sleep(0.1)  # as an object of some hundred megabytes does
        return Slow, ()


def leave(slow, code):
    sys.exit(code)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    processes = [multiprocessing.Process(target=leave, args=(Slow(), n)) for n in range(int(sys.argv[1]))]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("codes", *(process.exitcode for process in processes))

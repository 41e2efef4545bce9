"""Many processes at once, each with its own exit code."""

import multiprocessing
import sys


def leave(code):
    sys.exit(code)


if __name__ == "__main__":
    count = int(sys.argv[1])
    processes = [multiprocessing.Process(target=leave, args=(n % 7,)) for n in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("codes", *(process.exitcode for process in processes))
    print("ids", len({process.pid for process in processes}))

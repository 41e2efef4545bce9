"""A worker that prints its real process id, and keeps running."""

import multiprocessing
import os
import time


def live():
    print(os.readlink("/proc/self"), flush=True)
    while True:
        time.sleep(0.1)  # a long one misses a signal that arrives just before the system call


if __name__ == "__main__":
    process = multiprocessing.Process(target=live)
    process.start()
    process.join()

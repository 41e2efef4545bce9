"""A worker that prints its real process id, and keeps running."""

import multiprocessing
import os
import time


def live():
    print(os.readlink("/proc/self"), flush=True)
    time.sleep(1000)


if __name__ == "__main__":
    process = multiprocessing.Process(target=live)
    process.start()
    process.join()

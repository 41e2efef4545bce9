"""A number of processes that sleep for some seconds each, then an executor of as many workers."""

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

if __name__ == "__main__":
    count, seconds = int(sys.argv[1]), float(sys.argv[2])
    processes = [multiprocessing.Process(target=time.sleep, args=(seconds,)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print([process.exitcode for process in processes])
    with ProcessPoolExecutor(count) as executor:
        print(list(executor.map(abs, range(-count, 0))))

"""Workers that end after one task each, while the store has no memory for its result."""

import multiprocessing
import sys
import time


def task(number):
    with open(sys.argv[1], "a") as file:
        file.write(f"{number}\n")
    if number == 1:
        time.sleep(2)  # meanwhile the store fills up
    return number * 10


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        results = pool.map_async(task, [1, 2], chunksize=1)
        while True:
            time.sleep(0.01)
            try:
                if open(sys.argv[1]).read() == "1\n":
                    break
            except FileNotFoundError:
                pass
        print("begun", flush=True)
        print("results", results.get(60), flush=True)

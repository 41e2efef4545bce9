"""Acquires a lock after a line on standard input."""

import multiprocessing

from shared import shared

if __name__ == "__main__":
    lock = shared(multiprocessing.Lock())
    with lock:
        pass
    print("ready", flush=True)
    input()
    try:
        print(lock.acquire())
    except ConnectionError as e:
        print(e, flush=True)

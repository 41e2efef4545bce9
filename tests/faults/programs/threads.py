"""Threads of one process share a lock."""

import multiprocessing
import threading

from shared import shared

if __name__ == "__main__":
    lock, total = shared(multiprocessing.Lock()), 0
    print("started", flush=True)

    def count():
        global total
        for _ in range(300):
            with lock:
                total += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(total)

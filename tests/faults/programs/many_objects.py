"""More objects than a process can renew one by one within a lease."""

import multiprocessing
import time

from shared import shared

if __name__ == "__main__":
    locks = [shared(multiprocessing.Lock()) for _ in range(2000)]
    for lock in (locks[0], locks[-1]):
        with lock:
            pass
    print("made", flush=True)
    input()
    time.sleep(15)  # more than two leases
    for lock in (locks[0], locks[1000], locks[-1]):
        with lock:
            pass
    print("all there")

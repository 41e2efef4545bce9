"""A lock is released and deleted, and the answers to both commands are lost."""

import multiprocessing

from shared import shared

if __name__ == "__main__":
    kept, lock = shared(multiprocessing.Lock(), multiprocessing.Lock())
    kept.acquire()
    kept.release()
    lock.acquire()
    print("ready", flush=True)
    input()
    lock.release()
    del lock
    print("kept", kept.acquire(timeout=10), flush=True)

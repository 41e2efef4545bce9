"""Threads with a lock and a queue each, all at once: nothing is lost, and no error is another thread's."""

import multiprocessing as mp
import threading

THREADS, ITEMS = 100, 10


def work(i):
    try:
        together.wait()
        for k in range(ITEMS):
            with locks[i]:
                queues[i].put((i, k))
        for k in range(ITEMS):
            with locks[i]:
                assert queues[i].get(timeout=60) == (i, k)
    except BaseException as e:
        errors.append(repr(e))


if __name__ == "__main__":
    locks, queues = [mp.Lock() for _ in range(THREADS)], [mp.Queue() for _ in range(THREADS)]
    together, errors = threading.Barrier(THREADS), []
    threads = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(errors)

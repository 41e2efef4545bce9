"""Waits of each kind, in the program and in its workers."""

import multiprocessing
import threading
import time

from shared import shared


def wait(event):
    event.wait()


def tell(name, wait):
    try:
        wait()
    except ConnectionError as e:
        told[name] = "lost" if "session lost" in str(e) else str(e)


told = {}

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    lock, queue, event = shared(context.Lock()), context.SimpleQueue(), context.Event()
    lock.acquire()
    processes = [context.Process(target=wait, args=(event,)) for _ in range(2)]
    for process in processes:
        process.start()
    waits = {"lock": lock.acquire, "queue": queue.get, "event": event.wait}
    threads = [threading.Thread(target=tell, args=pair) for pair in waits.items()]
    for thread in threads:
        thread.start()
    time.sleep(0.5)  # now all threads wait
    print("waiting", flush=True)
    for thread in threads:
        thread.join()
    for name in waits:
        print(name, told.get(name))
    for process in processes:
        process.join()
    print("codes", *(process.exitcode for process in processes))

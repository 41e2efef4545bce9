"""Waits that begin while the store has no memory, and that later succeed."""

import multiprocessing
import threading

from shared import shared

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    lock, event = shared(context.Lock()), context.Event()
    receiver, sender = context.Pipe(duplex=False)
    lock.acquire()
    sender.send("item")
    print("ready", flush=True)
    input()
    threading.Timer(1, lock.release).start()
    threading.Timer(1, event.set).start()
    print("lock", lock.acquire(timeout=20), "event", event.wait(20), "poll", receiver.poll(20), receiver.recv(), flush=True)

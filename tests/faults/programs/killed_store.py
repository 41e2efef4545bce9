"""Kills the session's own store while processes wait."""

import multiprocessing
import os
import signal
import sys
import threading
import time

import psutil
from shared import shared

from serverless_mp import _core


def wait(what, queue, lock, condition):
    if what == "condition":
        with condition:
            condition.wait()
    {"queue": queue.get, "lock": lock.acquire, "nothing": lambda: time.sleep(100)}[what]()


def server():
    """Returns the id of the process that listens on the store's socket."""
    socket = _core.session_info()["url"].removeprefix("redis+unix://").split("?")[0]
    for process in psutil.process_iter():
        try:
            if "server" in process.name() and any(one.laddr == socket for one in process.net_connections("unix")):
                return process.pid
        except psutil.Error:
            pass
    raise RuntimeError("there is none")


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    objects = context.SimpleQueue(), shared(context.Lock()), context.Condition()
    objects[1].acquire()
    processes = [context.Process(target=wait, args=(sys.argv[1], *objects)) for _ in range(2)]
    for process in processes:
        process.start()
    # Both processes and this one wait by then.
    threading.Timer(1, os.kill, (server(), signal.SIGKILL)).start()
    begun = time.monotonic()
    try:
        wait("lock" if sys.argv[1] == "nothing" else sys.argv[1], *objects)
    except ConnectionError:
        print("lost", flush=True)
    for process in processes:
        process.join()
    print("codes", *(process.exitcode for process in processes))
    print("within seconds" if time.monotonic() - begun < 15 else "late")

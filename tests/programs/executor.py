"""concurrent.futures: contexts, initialisers, chunks, cancelling, workers that are replaced and workers that die."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

base = None


def start(value):
    global base
    base = value


def add(x):
    return base + x


def pid(_):
    return os.getpid()


def die(_):
    os._exit(3)


def slow(event):
    event.wait()
    return "slow"


if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context, initializer=start, initargs=(100,)) as executor:
            print(method, list(executor.map(add, range(10), chunksize=3)))
            futures = {executor.submit(add, n): n for n in range(4)}
            print(sorted((futures[future], future.result()) for future in as_completed(futures)))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=2) as executor:
        pids = [executor.submit(pid, 0).result() for _ in range(6)]
        print("workers replaced", len(set(pids)), os.getpid() in pids)
    with multiprocessing.Manager() as manager, ProcessPoolExecutor(1) as executor:
        event = manager.Event()
        first = executor.submit(slow, event)
        others = [executor.submit(pid, 0) for _ in range(20)]
        print("cancelled", others[-1].cancel(), others[-1].cancelled())
        event.set()
        print(first.result())
    with ProcessPoolExecutor(2) as executor:
        try:
            list(executor.map(die, range(3)))
        except BrokenProcessPool as e:
            print("broken", type(e).__name__)
    executor = ProcessPoolExecutor(1)
    executor.submit(pid, 0).result()
    executor.shutdown(cancel_futures=True)
    try:
        executor.submit(pid, 0)
    except RuntimeError as e:
        print(e)

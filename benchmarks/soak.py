"""Makes objects of every kind, lets another process use them, and deletes them: nothing may grow.

`python benchmarks/soak.py [--objects 20000] [--minutes 30]` makes at least so many objects of each kind, and runs for at least
so long. After each tenth of the run it prints the keys and bytes in the store; memory, descriptors and threads of the program
and of a worker that lives as long; and the median times of a lock pair, a round trip of a message, and a batch. It exits with 1
if, compared with the second tenth, the last one shows more keys, descriptors or threads, over a tenth more memory, or times
that are more than twice as long.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

import serverless_mp as multiprocessing
from serverless_mp import _core, shared_memory

BATCH = 50
PARTS = 10


def kinds(context):
    """Returns for each kind how to make an object, and a use that any process can make of it at any time."""
    return {
        "Lock": (context.Lock, lambda lock: lock.acquire() and lock.release()),
        "RLock": (context.RLock, lambda lock: lock.acquire() and lock.release()),
        "Semaphore": (context.Semaphore, lambda semaphore: semaphore.acquire() and semaphore.release()),
        "Condition": (context.Condition, _notify),
        "Event": (context.Event, lambda event: event.set()),
        "Barrier": (lambda: context.Barrier(1), lambda barrier: barrier.wait()),
        "Value": (lambda: context.Value("q", 0), _add),
        "Array": (lambda: context.Array("i", 100), _add_to_all),
        "Queue": (context.Queue, _put_and_get),
        "JoinableQueue": (context.JoinableQueue, _put_and_get),
        "SimpleQueue": (context.SimpleQueue, _put_and_get),
        "Pipe": (context.Pipe, _send_and_receive),
        "SharedMemory": (lambda: shared_memory.SharedMemory(create=True, size=100), _fill),
    }


def _notify(condition):
    with condition:
        condition.notify()


def _add(value):
    with value:
        value.value += 1


def _add_to_all(array):
    with array:
        array[:] = [n + 1 for n in array]


def _put_and_get(queue):
    queue.put(0)
    queue.get()


def _send_and_receive(ends):
    ends[0].send(0)
    ends[1].recv()


def _fill(block):
    block.buf[:3] = b"abc"


def use_all(objects):
    """Uses all objects; runs in a process of its own."""
    context = multiprocessing.get_context("spawn")
    for kind, some in objects:
        use = kinds(context)[kind][1]
        for one in some:
            use(one)


def _let_go(kind, some):
    for one in some:
        if kind == "SharedMemory":
            one.close()
            one.unlink()
        elif kind in ("Queue", "JoinableQueue"):
            one.close()
            one.join_thread()
        elif kind == "Pipe":
            for end in one:
                end.close()


def measure(pid=None):
    """Returns resident memory in MB, descriptors, threads."""
    place = f"/proc/{pid or os.getpid()}"
    with open(f"{place}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmRSS"].split()[0]) / 1024, len(os.listdir(f"{place}/fd")), int(fields["Threads"])


def echo(connection):
    """Runs in the worker that lives as long as the program; answers with what it measures."""
    while connection.recv() is not None:
        connection.send(measure())


def of_store():
    """Returns the number of keys in the store, and its bytes in use."""
    url = _core.session_info()["url"]
    import redis

    if url.startswith("redis+unix://"):
        path, password = url.removeprefix("redis+unix://").split("?pass=")
        client = redis.Redis(unix_socket_path=path, password=password)
    else:
        client = redis.Redis.from_url(url)
    with client:
        return client.dbsize(), client.info("memory")["used_memory"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=20000, help="objects of each kind")
    parser.add_argument("--minutes", type=float, default=30, help="least duration")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    worker = context.Process(target=echo, args=(there,))
    worker.start()
    lock = context.Lock()
    began = time.monotonic()
    rows = []
    print(
        "objects  minutes  keys  store MB  program MB fds threads  worker MB fds threads  lock us  message us  batch ms",
        flush=True,
    )
    made = 0
    for part in range(1, PARTS + 1):
        times = {"lock": [], "message": [], "batch": []}
        while made < options.objects * part / PARTS or time.monotonic() - began < options.minutes * 60 * part / PARTS:
            start = time.perf_counter()
            objects = [(kind, [make() for _ in range(BATCH)]) for kind, (make, _) in kinds(context).items()]
            process = context.Process(target=use_all, args=(objects,))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"a process that used them ended with {process.exitcode}")
            for kind, some in objects:
                _let_go(kind, some)
            del objects, process, some
            times["batch"].append(time.perf_counter() - start)
            start = time.perf_counter()
            with lock:
                pass
            _core.settle()
            times["lock"].append(time.perf_counter() - start)
            start = time.perf_counter()
            here.send("measure")
            of_worker = here.recv()
            times["message"].append(time.perf_counter() - start)
            made += BATCH
        lock_time, message, batch = (statistics.median(times[name]) for name in ("lock", "message", "batch"))
        keys, size = of_store()
        row = (keys, size / 1e6, *measure(), *of_worker, lock_time * 1e6, message * 1e6, batch * 1e3)
        rows.append(row)
        texts = [f"{value:.1f}" if isinstance(value, float) else str(value) for value in row]
        print(made, f"{(time.monotonic() - began) / 60:.1f}", *texts, sep="  ", flush=True)
    here.send(None)
    worker.join()
    second, last = rows[1], rows[-1]
    counts, sizes, spans = (0, 3, 4, 6, 7), (1, 2, 5), (8, 9, 10)
    grown = [i for i in counts if last[i] > second[i]]
    grown += [i for i in sizes if last[i] > 1.1 * second[i]] + [i for i in spans if last[i] > 2 * second[i]]
    print("grown: columns", grown, "of", len(second)) if grown else print("nothing has grown")
    sys.exit(bool(grown))


if __name__ == "__main__":
    main()

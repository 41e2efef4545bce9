"""Programs that share memory, for the standard library's spawn and for us, in one run.

    python benchmarks/memory.py [--only readers,quicksort] [--megabytes 100]

Each part runs in an interpreter of its own, on each side in turn. The table shows medians, and the ratio of our figure to
CPython's. `readers`: a large array of which four processes read parts. `private`: objects that were never given to another
process. `counter`: a value that was. `slices`: whole reads and writes of an array by another process; for comparison, the
bare server's GETRANGE and SETRANGE of the same bytes from Python. `quicksort`: an array that four processes sort. `steps`:
environments that write observations to shared arrays and answer through pipes.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from cliffs import median

PROCESSES = 4
# The numbers of the quicksort in the literature, and more.
SORTED = {"1,600 numbers": 1600, "100,000 numbers": 100_000}


def took(operation, times):
    """Returns the median wall time of an operation in seconds."""
    return median(operation, times) / 1e6


def per_call(operation, calls=5000):
    """The same for a short one, which is repeated."""

    def repeat():
        for _ in range(calls):
            operation()

    return took(repeat, 5) / calls


def share():
    """The megabytes of this process: memory that n processes share counts as 1/n."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def started(context, target, parts):
    """Starts processes, each with its part of the arguments and a connection. Returns the processes and our connections."""
    pipes = [context.Pipe() for _ in parts]
    processes = [context.Process(target=target, args=(*part, there)) for part, (_, there) in zip(parts, pipes, strict=True)]
    for process in processes:
        process.start()
    return processes, [here for here, _ in pipes]


def ended(processes, connections):
    for connection in connections:
        connection.send(None)
    for process in processes:
        process.join()


# ---- parts: each yields the names and values of figures ------------------------------------------------------------


def read(array, number, connection):
    numbers = np.frombuffer(array.get_obj(), np.float32)
    chance = np.random.default_rng(number)
    while connection.recv() is not None:
        start = int(chance.integers(0, len(numbers) - 1000))
        connection.send(float(numbers[start : start + 1000].sum()))
    connection.send(share())


def readers(context, megabytes):
    array = context.Array("f", megabytes * 250_000)
    numbers = np.frombuffer(array.get_obj(), np.float32)
    for start in range(0, len(numbers), 1 << 20):
        numbers[start : start + (1 << 20)] = 1.5
    start = time.perf_counter()
    processes, connections = started(context, read, [(array, n) for n in range(PROCESSES)])

    def ask(connection):
        connection.send(1)
        return connection.recv()

    for connection in connections:
        connection.send(1)
    for connection in connections:
        connection.recv()
    yield f"{megabytes} MB, {PROCESSES} readers: first answers, s", time.perf_counter() - start
    yield "a message there and back, ms", 1000 * statistics.median(took(lambda c=c: ask(c), 100) for c in connections)
    for connection in connections:
        connection.send(None)
    shares = [connection.recv() for connection in connections]
    yield "MB of all processes", share() + sum(shares)
    for process in processes:
        process.join()


def private(context, megabytes):
    value, lock, array = context.Value("i", 0), context.Lock(), context.Array("i", 100)
    kept = context.RawArray("f", megabytes * 250_000)
    np.frombuffer(kept, np.float32)[:] = 1

    def count():
        with value.get_lock():
            value.value += 1

    def pair():
        with lock:
            pass

    def write():
        array[5] = 3

    yield "value += 1, us", 1e6 * per_call(count)
    yield "element read, us", 1e6 * per_call(lambda: array[5])
    yield "element written, us", 1e6 * per_call(write)
    yield f"lock pair beside {megabytes} MB, us", 1e6 * per_call(pair)


def count_to(value, times, connection):
    while connection.recv() is not None:
        for _ in range(times):
            with value.get_lock():
                value.value += 1
        connection.send(None)


def counter(context, _):
    times, value = 2000, context.Value("q", 0)
    processes, connections = started(context, count_to, [(value, times)] * PROCESSES)

    def count(some):
        for connection in some:
            connection.send(1)
        for connection in some:
            connection.recv()

    count(connections)
    yield "by one process, us", 1e6 * took(lambda: count(connections[:1]), 5) / times
    yield f"by {PROCESSES}, us", 1e6 * took(lambda: count(connections), 3) / times / PROCESSES
    assert value.value == times * (PROCESSES * 4 + 5)
    ended(processes, connections)


def copy_whole(array, connection):
    view = memoryview(array).cast("B")
    while (command := connection.recv()) is not None:
        if command == "write":
            view[:] = bytes([(view[0] + 1) % 251]) * len(view)
        connection.send(sum(view[:: len(view) // 16]))


def slices(context, _):
    size = 8 << 20
    array = context.RawArray("b", size)
    view = memoryview(array).cast("B")
    processes, connections = started(context, copy_whole, [(array,)])
    rounds = iter(range(1, 1000))

    def ask(command):
        connections[0].send(command)
        connections[0].recv()

    def write():
        view[:] = bytes([next(rounds) % 251]) * size
        ask("read")

    def fetch():
        ask("write")
        bytes(view)

    ask("read")
    yield "8 MiB written here, read there, MB/s", size / 1e6 / took(write, 9)
    yield "8 MiB written there, read here, MB/s", size / 1e6 / took(fetch, 9)
    ended(processes, connections)


def sort_elements(array, first, end):
    """Sorts a part in place, element by element."""
    if end - first < 2:
        return
    pivot, left, right = array[(first + end) // 2], first, end - 1
    while left <= right:
        while array[left] < pivot:
            left += 1
        while array[right] > pivot:
            right -= 1
        if left <= right:
            array[left], array[right] = array[right], array[left]
            left, right = left + 1, right - 1
    sort_elements(array, first, right + 1)
    sort_elements(array, left, end)


def sort_part(how, array, first, end, connection):
    if how == "elements":
        sort_elements(array, first, end)
    elif how == "slices":
        part = array[first:end]
        sort_elements(part, 0, len(part))
        array[first:end] = part
    else:
        part = connection.recv()
        sort_elements(part, 0, len(part))
        connection.send(part)


def quicksort(context, _):
    for label, size in SORTED.items():
        for how in ("elements", "slices", "pipes"):
            start = time.perf_counter()
            chance = random.Random(3)
            array = context.RawArray("i", [chance.randrange(1 << 30) for _ in range(size)])
            bounds = [size * n // PROCESSES for n in range(PROCESSES + 1)]
            processes, connections = started(context, sort_part, [(how, array, *part) for part in pairwise(bounds)])
            parts = [slice(first, end) for first, end in pairwise(bounds)]
            if how == "pipes":
                for connection, part in zip(connections, parts, strict=True):
                    connection.send(array[part])
                for connection, part in zip(connections, parts, strict=True):
                    array[part] = connection.recv()
            for process in processes:
                process.join()
            assert all(array[part] == sorted(array[part]) for part in parts)
            yield f"{label}, {how}, s", time.perf_counter() - start


def environment(observation, connection):
    observation = np.frombuffer(observation.get_obj(), np.uint8)
    step = 0
    while connection.recv() is not None:
        step += 1
        observation[:] = step % 255
        connection.send((1.0, False, {}))


def steps(context, _):
    observations = [context.Array(ctypes.c_char, 84 * 84 * 4) for _ in range(PROCESSES)]
    processes, connections = started(context, environment, [(observation,) for observation in observations])

    def step():
        for connection in connections:
            connection.send(("step", 0))
        for connection in connections:
            connection.recv()
        return [np.frombuffer(observation.get_obj(), np.uint8).copy() for observation in observations]

    for _ in range(20):
        step()
    yield f"steps of {PROCESSES} environments a second", PROCESSES / took(step, 200)
    assert {int(seen[-1]) for seen in step()} == {221}
    ended(processes, connections)


PARTS = {part.__name__: part for part in (readers, private, counter, slices, quicksort, steps)}


def bare():
    """The bare server's figures for `slices`, in MB/s."""
    from scale import Bare  # not needed by the processes of the parts

    from serverless_mp.store import embedded

    size = 8 << 20
    data = bytes([1]) * size
    with tempfile.TemporaryDirectory(prefix="smp-memory-") as folder:
        Path(folder, "store").mkdir()
        server = embedded.Store(f"{folder}/store")
        client = Bare(server.url)
        written = size / 1e6 / took(lambda: client.call("SETRANGE", "array", 0, data), 9)
        fetched = size / 1e6 / took(lambda: client.call("GETRANGE", "array", 0, size - 1), 9)
        server.stop()
    return f"bare server, 8 MiB: SETRANGE {written:,.0f} MB/s, GETRANGE {fetched:,.0f} MB/s"


def run(part, side, megabytes):
    """Measures a part in an interpreter of its own; returns its figures."""
    command = [sys.executable, __file__, "--part", part, "--side", side, "--megabytes", str(megabytes)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(map(json.loads, lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--megabytes", type=int, default=100, help="the size of the large array")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        context = importlib.import_module(options.side).get_context("spawn")
        for figure in PARTS[options.part](context, options.megabytes):
            print(json.dumps(figure), flush=True)
        return
    print("| | CPython | here | ratio |\n| --- | ---: | ---: | ---: |")
    for part in options.only.split(","):
        theirs, ours = (run(part, side, options.megabytes) for side in ("multiprocessing", "serverless_mp"))
        for label, value in theirs.items():
            print(f"| {part}: {label} | {value:,.2f} | {ours[label]:,.2f} | {ours[label] / value:.2f} |", flush=True)
    if "slices" in options.only:
        print("\n" + bare())


if __name__ == "__main__":
    main()

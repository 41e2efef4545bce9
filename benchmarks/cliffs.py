"""Operations that are cheap on one machine and were once expensive here, for the standard library and for us, in one run.

`python benchmarks/cliffs.py [--packages pandas,sklearn.ensemble]` measures a shared array of 1 MiB of which every number
changes under its lock; a lock pair before and after 2,000 values were created and deleted; a round trip of a message of 1 MiB;
and pools of eight processes under spawn after a first one, in a program that imports the packages. It prints medians of wall
times, in microseconds.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import time

PROCESSES = 8


def median(operation, times):
    """Returns the median wall time of an operation in microseconds."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        operation()
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1e6


def echo(connection):
    """Echoes messages until an empty one arrives."""
    while data := connection.recv_bytes():
        connection.send_bytes(data)


def nothing(_):
    """A task that does nothing."""


def measure(multiprocessing, packages):
    """Yields the name and the value of each figure."""
    for package in packages:
        importlib.import_module(package)
    context = multiprocessing.get_context("spawn")

    import numpy as np  # only the measurements need it

    array = context.Array("i", 1 << 18)
    numbers = np.frombuffer(array.get_obj(), dtype=np.int32)

    def add():
        with array:
            numbers[:] += 1

    yield "array of 1 MiB += 1", median(add, 20)
    lock = context.Lock()

    def pair():
        with lock:
            pass

    yield "lock pair", median(pair, 2000)
    for n in range(2000):
        context.Value("i", 0).value = n
        with lock:
            pass
    yield "lock pair after 2,000 values", median(pair, 2000)
    here, there = context.Pipe()
    process = context.Process(target=echo, args=(there,))
    process.start()
    data = os.urandom(1 << 20)

    def ask():
        here.send_bytes(data)
        here.recv_bytes()

    yield "message of 1 MiB, there and back", median(ask, 50)
    here.send_bytes(b"")
    process.join()

    def pool():
        with context.Pool(PROCESSES) as workers:
            workers.map(nothing, range(PROCESSES), chunksize=1)

    pool()
    yield f"pool of {PROCESSES}, the second", median(pool, 3)


def run(name, packages):
    """Measures one side in a process of its own and returns its figures."""
    command = [sys.executable, __file__, "--side", name, "--packages", ",".join(packages)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split("\t") for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", default="numpy", help="packages that the program imports, separated by commas")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    packages = options.packages.split(",")
    if options.side:
        for label, value in measure(importlib.import_module(options.side), packages):
            print(label, value, sep="\t", flush=True)
        return
    theirs, ours = run("multiprocessing", packages), run("serverless_mp", packages)
    print(f"{'':40} {'CPython':>12} {'here':>12}   ratio")
    for label, value in theirs.items():
        print(f"{label:40} {float(value):12,.0f} {float(ours[label]):12,.0f} {float(ours[label]) / float(value):7.1f}")


if __name__ == "__main__":
    main()

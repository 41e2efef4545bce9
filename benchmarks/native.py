"""CPython's own multiprocessing, on its semaphores and on ours, in turn on one machine: the best of all rounds, and the ratio.

    python benchmarks/native.py [--method fork|spawn|forkserver] [--rounds 5]

CPython's semaphores need /dev/shm; ours do not use it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import time

PAIRS = 100_000
TASKS = 5_000


def best(measure, count, repeats=5):
    """Returns the shortest time for one of `count` operations, in seconds."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        measure()
        times.append((time.perf_counter() - begun) / count)
    return min(times)


def same(x):
    return x


def measure(method):
    """Returns the microseconds of each operation, by name."""
    context = multiprocessing.get_context(method)
    lock, value, queue = context.Lock(), context.Value("i", 0), context.SimpleQueue()

    def pairs():
        for _ in range(PAIRS):
            lock.acquire()
            lock.release()

    def with_statements():
        for _ in range(PAIRS):
            with lock:
                pass

    def increments():
        for _ in range(PAIRS):
            with value.get_lock():
                value.value += 1

    def items():
        for _ in range(TASKS):
            queue.put(1)
            queue.get()

    found = {
        "Lock: acquire and release": best(pairs, PAIRS),
        "Lock: with": best(with_statements, PAIRS),
        "Value: += 1 with its lock": best(increments, PAIRS),
        "SimpleQueue: put and get": best(items, TASKS),
    }
    with context.Pool(2) as pool:
        found["Pool(2).map, chunksize 1: a task"] = best(lambda: pool.map(same, range(TASKS), chunksize=1), TASKS)

    def pools():
        with context.Pool(2) as pool:
            pool.map(same, range(2))

    found["Pool(2): made, used and ended"] = best(pools, 1)
    return {name: seconds * 1e6 for name, seconds in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--method", default="fork", choices=["fork", "spawn", "forkserver"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help="measure in this interpreter only, and print JSON")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.method)))
        return
    program = [__file__, "--measure", "--method", options.method]
    commands = {"CPython": [sys.executable], "ours": [sys.executable, "-m", "serverless_mp.cli", "run", "--on", "native"]}
    results = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, command in commands.items():
            done = subprocess.run([*command, *program], check=True, capture_output=True, text=True)
            results[name].append(json.loads(done.stdout))
    print(f"{'us, ' + options.method:36} {'CPython':>10} {'ours':>10} {'ratio':>6}")
    for what in results["ours"][0]:
        theirs, ours = (min(one[what] for one in results[name]) for name in commands)
        print(f"{what:36} {theirs:10.3f} {ours:10.3f} {ours / theirs:6.2f}")


if __name__ == "__main__":
    main()

"""How a program scales: 1 to 1,024 worker processes on this machine, with and without a network between them and the store.

    python benchmarks/scale.py [--quick] [--processes 16,64,256] [--delays 0,200] [-o benchmarks/scale/figures.json]

Each delay (of `examples/delay.rs`, in microseconds each way) has a store of its own, with the private store's server. For each
delay and number of processes N: N processes share two queues, a lock and a value, until all have ended; a `Pool(N)` is made,
maps no-ops, and does 4 N tasks of 250 ms. For each delay once: a queue with one producer and one consumer, in both directions;
a value that four processes count under its lock; `Pool(16).map` of no-ops; and, for comparison, the bare server: a PING, and
RPUSH and BLPOP of an item.

Rates are items per second of wall time. The server's time for an operation is processor time (from schedstat), on which other
load has no influence.
`render.py` makes the tables and plots.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from serverless_mp.store import embedded

HERE = Path(__file__).parent
TASK = 0.25


# ---- the bare server -------------------------------------------------------------------------------------------


class Bare:
    """A minimal client: one command, one reply."""

    def __init__(self, url):
        parts = urlsplit(url)
        if parts.port:
            self.socket = socket.create_connection((parts.hostname, parts.port))
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(unquote(parts.path))
        self.file = self.socket.makefile("rb")
        if parts.query:
            self.call("AUTH", unquote(parts.query.removeprefix("pass=")))

    def call(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return rest


@contextlib.contextmanager
def store(delay):
    """Yields the URL of a store at this delay, its URL without the delay, and the process id of its server."""
    with tempfile.TemporaryDirectory(prefix="smp-scale-") as folder:
        Path(folder, "store").mkdir()
        server = embedded.Store(f"{folder}/store")
        parts = urlsplit(server.url)
        info = Bare(server.url).call("INFO", "server").decode()
        pid = int(next(line for line in info.splitlines() if line.startswith("process_id:")).split(":")[1])
        proxy = None
        try:
            if delay:
                command = [HERE.parent / "target/release/examples/delay", f"{folder}/p", unquote(parts.path), str(delay)]
                proxy = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                proxy.stdout.readline()
                yield server.url.replace(parts.path, f"{folder}/p"), server.url, pid
            else:
                yield server.url, server.url, pid
        finally:
            if proxy:
                proxy.stdin.close()
                proxy.wait()
            server.stop()


def cpu(pid):
    """Returns the processor time of a process in microseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(task.read_text().split()[0])
    return total / 1000


# ---- what the processes do -------------------------------------------------------------------------------------


def relay(tasks, results, lock, value):
    while (item := tasks.get()) is not None:
        with lock:
            value.value += 1
        results.put(item)


def nothing(item):
    return item


def wait(item):
    time.sleep(TASK)
    return item


def produce(queue, go, count, item):
    go.get()
    for _ in range(count):
        queue.put(item)


def consume(queue, done, count):
    for _ in range(count):
        queue.get()
    done.put(None)


def count_up(value, times, begin, end):
    begin.wait()
    for _ in range(times):
        with value:
            value.value += 1
    end.wait()


# ---- the parts -------------------------------------------------------------------------------------------------


class Clock:
    """Measures wall time and the server's processor time."""

    def __init__(self, server):
        self.server, self.begun, self.before = server, time.perf_counter(), cpu(server)

    def seconds(self):
        return time.perf_counter() - self.begun

    def per_item(self, count):
        return {"per_second": round(count / self.seconds()), "server_us": round((cpu(self.server) - self.before) / count, 1)}


def together(context, server, processes, items):
    """Measures N processes that share two queues, a lock and a value."""
    clock = Clock(server)
    tasks, results, lock = context.Queue(), context.Queue(), context.Lock()
    value = context.Value("q", 0, lock=False)
    workers = [context.Process(target=relay, args=(tasks, results, lock, value)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for i in range(processes):
        tasks.put(i)
    for _ in workers:
        results.get()
    figures = {"start_seconds": round(clock.seconds(), 2)}
    clock = Clock(server)
    for i in range(items):
        tasks.put(i)
    got = sorted(results.get() for _ in range(items))
    figures |= clock.per_item(items)
    if got != list(range(items)):
        raise RuntimeError("items are missing")
    clock = Clock(server)
    for _ in workers:
        tasks.put(None)
    for worker in workers:
        worker.join()
    figures["end_seconds"] = round(clock.seconds(), 2)
    with lock:
        counted = value.value
    if counted != items + processes:
        raise RuntimeError(f"{counted} were counted")
    figures["bad_exits"] = sum(worker.exitcode != 0 for worker in workers)
    return figures


def pool(context, server, processes, _items):
    """Measures a pool of N processes."""
    clock = Clock(server)
    with context.Pool(processes) as workers:
        figures = {"made_seconds": round(clock.seconds(), 2)}
        clock = Clock(server)
        workers.map(nothing, range(processes), chunksize=1)
        figures["first_map_seconds"] = round(clock.seconds(), 2)
        clock = Clock(server)
        workers.map(wait, range(4 * processes), chunksize=1)
        figures["efficiency"] = round(4 * TASK / clock.seconds(), 2)
        clock = Clock(server)
        workers.close()
        workers.join()
    return figures | {"end_seconds": round(clock.seconds(), 2)}


def queue(context, server, items):
    """Measures a queue from a worker to this process, then one from this process to a worker."""
    item = bytes(1000)
    queue, go = context.Queue(), context.SimpleQueue()
    process = context.Process(target=produce, args=(queue, go, items, item))
    process.start()
    queue.put(0)
    queue.get()  # from here on this process is a consumer
    go.put(None)
    queue.get()
    clock = Clock(server)
    for _ in range(items - 1):
        queue.get()
    yield "queue from a worker", clock.per_item(items)
    process.join()
    queue, done = context.Queue(), context.SimpleQueue()
    process = context.Process(target=consume, args=(queue, done, items + 1))
    process.start()
    queue.put(item)
    while not queue.empty():
        time.sleep(0.01)  # until the worker is a consumer
    clock = Clock(server)
    for _ in range(items):
        queue.put(item)
    done.get()
    yield "queue to a worker", clock.per_item(items)
    process.join()


def value(context, server, times):
    """Measures four processes that count under the value's lock."""
    shared, begin, end = context.Value("q", 0), context.Barrier(5), context.Barrier(5)
    processes = [context.Process(target=count_up, args=(shared, times, begin, end)) for _ in range(4)]
    for process in processes:
        process.start()
    begin.wait()
    clock = Clock(server)
    end.wait()
    yield "value counted by 4 under its lock", clock.per_item(4 * times)
    for process in processes:
        process.join()
    if shared.value != 4 * times:
        raise RuntimeError(f"{shared.value} were counted")


def no_ops(context, server, items):
    """Measures a pool of 16 with tasks that do nothing."""
    with context.Pool(16) as workers:
        workers.map(nothing, range(200), chunksize=1)
        clock = Clock(server)
        workers.map(nothing, range(items), chunksize=1)
        yield "Pool(16).map of no-ops, chunksize 1", clock.per_item(items)


def bare(url, items):
    """Measures the server itself: a PING in microseconds, and items per second."""
    client, other = Bare(url), Bare(url)
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        client.call("PING")
        times.append(time.perf_counter() - begun)
    yield "ping_us", round(statistics.median(times) * 1e6)
    item = bytes(1000)
    begun = time.perf_counter()
    for _ in range(items):
        client.call("RPUSH", "bare", item)
        other.call("BLPOP", "bare", 0)
    yield "bare_items_per_second", round(items / (time.perf_counter() - begun))


# ---- runs ------------------------------------------------------------------------------------------------------


def measure(part, processes, server, items):
    """Measures one part; called in a process of its own."""
    import serverless_mp

    context = serverless_mp.get_context("spawn")
    if part in ("together", "pool"):
        return {"together": together, "pool": pool}[part](context, server, processes, items)
    return dict({"queue": queue, "value": value, "no_ops": no_ops}[part](context, server, items))


def run(part, url, server, processes, items):
    command = [sys.executable, __file__, "--part", part, "--server", str(server)]
    command += ["--processes", str(processes), "--items", str(items)]
    done = subprocess.run(
        command, env={**os.environ, "SERVERLESS_MP_REDIS_URL": url}, check=False, capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise RuntimeError(f"{part} of {processes} has failed:\n{done.stderr[-2000:]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    print(f"  {part} {processes or ''}: {figures}", flush=True)
    return figures


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, check=False, capture_output=True, text=True)
    return done.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer items, and not more than 256 processes")
    parser.add_argument("--processes", help="numbers of processes, with commas between")
    parser.add_argument("--delays", default="0,200", help="in microseconds each way, with commas between")
    parser.add_argument("-o", "--output", type=Path, help="a file of JSON for the figures")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--server", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--items", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(measure(options.part, int(options.processes), options.server, options.items)))
        return
    subprocess.run(["cargo", "build", "--quiet", "--release", "--example", "delay"], cwd=HERE.parent, check=True)
    numbers = options.processes or ("4,16,64,256" if options.quick else "1,4,16,64,256,512,1024")
    items = 3000 if options.quick else 20_000
    machine = f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}"
    result = {"commit": commit(), "machine": machine, "delays": {}}
    for delay in map(int, options.delays.split(",")):
        with store(delay) as (far, _, server):
            figures = dict(bare(far, 500))
            print(f"delay of {delay} us each way, a PING of {figures['ping_us']} us", flush=True)
            for part in ("queue", "no_ops", "value"):
                figures |= run(part, far, server, 0, items if part != "value" else items // 10)
            for part in ("together", "pool"):
                figures[part] = {n: run(part, far, server, int(n), items // 4) for n in numbers.split(",")}
        result["delays"][delay] = figures
    if options.output:
        options.output.parent.mkdir(exist_ok=True)
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

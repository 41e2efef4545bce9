"""What one node carries, and what a cluster adds: 64 to 4,096 workers of `examples/load.rs` against one node and against three.

    python benchmarks/load.py [--workers 64,256] [--seconds 2] [--stores socket,one,three] [-o benchmarks/scale/load.json]

The stores: the private store's server on a UNIX socket, without a delay and with those of `examples/delay.rs`; a cluster of one
node, and one of three, over TCP. Each scenario and number of workers has a new store.

Each figure is of the time between the warm-up and the end of the last operation. The processor time of each server (from
schedstat), its commands and its bytes (from INFO) are divided by the number of operations of all nodes.
`render.py` makes the tables.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from scale import HERE, Bare, commit, cpu, store

from serverless_mp.store.embedded import find_server

SCENARIOS = ("pool", "pairs", "common")
BINARIES = HERE.parent / "target/release/examples"
# Through the proxy, each connection has four threads and four descriptors.
MOST_DELAYED = 1024
# Two connections for each worker are open at the beginning, and a third one later, to each node.
CONNECTIONS = 16_000
# For how many seconds the workers rest before they begin: each of them asks for the session every ten.
REST = 10
# After how many seconds a measurement has failed.
LONGEST = 150


class Node:
    """A server, as the measurement sees it."""

    def __init__(self, url):
        self.client = Bare(url)
        self.client.call("CONFIG", "SET", "maxclients", CONNECTIONS)
        self.pid = int(self.info("server")["process_id"])
        # A node usually has a processor of its own. Here it would wait for thousands of workers. The server leads a session,
        # whose processes the scheduler treats as one; only root may prefer it.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/autogroup").write_text("-15")

    def info(self, section):
        lines = self.client.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def counts(self):
        """Returns everything that only grows."""
        counts = {"us": cpu(self.pid)}
        stats = self.info("stats")
        counts |= {"bytes_in": int(stats["total_net_input_bytes"]), "bytes_out": int(stats["total_net_output_bytes"])}
        for name, values in self.info("commandstats").items():
            if "info" not in name:
                counts[name.removeprefix("cmdstat_")] = int(values.split(",")[0].removeprefix("calls="))
        return counts


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until(is_so, what):
    deadline = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} is not ready")
        time.sleep(0.05)


def answers(url):
    with contextlib.suppress(OSError, RuntimeError):
        return Bare(url).call("PING") == b"PONG"
    return False


@contextlib.contextmanager
def cluster(count):
    """Yields the URL of a cluster of so many nodes, and the nodes."""
    with tempfile.TemporaryDirectory(prefix="smp-load-") as folder, contextlib.ExitStack() as stack:
        urls = []
        for n in range(count):
            port = free_port()
            Path(folder, str(n)).mkdir()
            options = ["--port", port, "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--save", ""]
            options += ["--hash-max-listpack-entries", 16, "--dir", f"{folder}/{n}", "--logfile", f"{folder}/{n}/log"]
            server = subprocess.Popen([find_server(), *map(str, options)], start_new_session=True)
            stack.callback(server.wait)
            stack.callback(server.kill)
            urls.append(f"redis://127.0.0.1:{port}")
            wait_until(lambda url=urls[-1]: answers(url), "a node")
        nodes = [Node(url) for url in urls]
        bounds = [16384 * n // count for n in range(count + 1)]
        for node, first, end in zip(nodes, bounds, bounds[1:], strict=False):
            node.client.call("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for url in urls[1:]:
            nodes[0].client.call("CLUSTER", "MEET", "127.0.0.1", urlsplit(url).port)
        wait_until(lambda: all(is_formed(node, count) for node in nodes), "the cluster")
        yield "redis+cluster://" + urls[0].removeprefix("redis://"), nodes


def is_formed(node, count):
    return len(node.client.call("CLUSTER", "SLOTS")) == count and b"state:ok" in node.client.call("CLUSTER", "INFO")


@contextlib.contextmanager
def started(kind, delay):
    """Yields the URL of a store of this kind, and its nodes."""
    if kind == "socket":
        with store(delay) as (url, near, _):
            yield url, [Node(near)]
    else:
        with cluster({"one": 1, "three": 3}[kind]) as (url, nodes):
            yield url, nodes


def difference(before, after, by):
    return {key: round((after[key] - before.get(key, 0)) / by, 3) for key in after if after[key] > before.get(key, 0)}


def measure(kind, delay, scenario, workers, seconds):
    """Runs one scenario on a new store; returns its figures."""
    with started(kind, delay) as (url, nodes):
        command = [BINARIES / "load", url, scenario, str(workers), str(seconds)]
        load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        over = threading.Timer(LONGEST, load.kill)
        over.start()
        try:
            if load.stdout.readline() != "ready\n":
                raise RuntimeError("it has not begun")
            before = [node.counts() for node in nodes]
            at_rest = None
            if kind == "socket" and not delay:
                time.sleep(REST)
                rested = [node.counts() for node in nodes]
                at_rest, before = difference(before[0], rested[0], REST), rested
            load.stdin.write("\n")
            load.stdin.flush()
            figures = json.loads(load.stdout.readline() or "{}")
            if not figures:
                raise RuntimeError("it has not ended")
            after = [node.counts() for node in nodes]
            connections = [int(node.info("clients")["connected_clients"]) - 1 for node in nodes]
            load.stdin.close()
            if load.wait():
                raise RuntimeError("it has lost something")
            left = [int(node.client.call("DBSIZE")) for node in nodes]
            if any(left):
                raise RuntimeError(f"it has left keys: {left}")
        finally:
            over.cancel()
            load.kill()
            load.wait()
    operations = figures["operations"]
    figures["per_second"] = round(operations / figures.pop("seconds"))
    figures["nodes"] = [
        {"connections": count} | difference(*counts, operations)
        for count, *counts in zip(connections, before, after, strict=True)
    ]
    return figures | ({"a_second_at_rest": at_rest} if at_rest else {})


def attempt(*which):
    """Measures; a failure is a figure, too."""
    try:
        return measure(*which)
    except (RuntimeError, OSError) as e:
        return {"failed": str(e)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workers", default="64,256,1024,4096", help="with commas between")
    parser.add_argument(
        "--seconds", type=float, default=2, help="for each measurement; more above 1,024 workers, in proportion"
    )
    parser.add_argument("--stores", default="socket,one,three", help="with commas between")
    parser.add_argument("--delays", default="0,200,500", help="of the store on a socket, in microseconds each way")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="with commas between")
    parser.add_argument("-o", "--output", type=Path, help="a file of JSON; figures of the same commit stay in it")
    options = parser.parse_args()
    build = ["cargo", "build", "--quiet", "--release", "--no-default-features", "--features", "load"]
    subprocess.run([*build, "--example", "load", "--example", "delay"], cwd=HERE.parent, check=True)
    machine = f"{os.cpu_count()} processors, {platform.machine()}"
    result = {"commit": commit(), "machine": machine, "seconds": options.seconds, "runs": []}
    if options.output and options.output.exists():
        earlier = json.loads(options.output.read_text())
        if earlier["commit"] == result["commit"]:
            result["runs"] = earlier["runs"]
    for kind in options.stores.split(","):
        for delay in map(int, options.delays.split(",")) if kind == "socket" else [0]:
            for scenario in options.scenarios.split(","):
                for workers in map(int, options.workers.split(",")):
                    if delay and workers > MOST_DELAYED:
                        continue
                    run = {"store": kind, "delay": delay, "scenario": scenario, "workers": workers}
                    seconds = options.seconds * max(1, workers // 1024)
                    run |= attempt(kind, delay, scenario, workers, seconds)
                    print(json.dumps(run), flush=True)
                    result["runs"].append(run)
                    if options.output:
                        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

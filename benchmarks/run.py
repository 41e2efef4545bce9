"""Measures every figure in one run: the standard library (spawn), ours on the private store, and the floor of the same server.

    python benchmarks/run.py [--quick] [--only PARTS] [--no-tcp-floor]

benchmarks/README.md describes the method. The results go to benchmarks/results/, one JSON file a side; the tables are printed.
"""

import argparse
import contextlib
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from serverless_mp.store import embedded

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--only", help="parts of micro.py, by name, with commas")
    parser.add_argument("--no-tcp-floor", action="store_true", help="leave out floor.py, which wants redis-py and TCP")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    print(f"# {platform.node()}: {platform.machine()}, Python {platform.python_version()}, {cpus()} processors\n")

    floor = {**rust_floor(), **({} if options.no_tcp_floor else tcp_floor())}
    (RESULTS / "floor.json").write_text(json.dumps(floor, indent=1) + "\n")
    sides = {"stdlib-spawn": ["--start-method", "spawn"], "serverless_mp": ["--module", "serverless_mp"]}
    files = []
    for label, arguments in sides.items():
        files.append(RESULTS / f"{label}.json")
        command = [sys.executable, HERE / "micro.py", *arguments, "--label", label, "-o", files[-1]]
        command += ["--quick"] * options.quick + (["--only", options.only] if options.only else [])
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([sys.executable, HERE / "compare.py", *files, "--best"], check=True)
    print("\n| floor | unit | best | median |\n|---|---|---:|---:|")
    for name, figure in floor.items():
        print(f"| {name} | {figure['unit']} | {figure['best']:.4g} | {figure['median']:.4g} |")
    judge(*(json.loads(f.read_text())["figures"] for f in files), floor)


def cpus():
    return len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")])


def rust_floor():
    """Measures the fewest commands for an operation, with a Rust client on the private store's own socket."""
    with tempfile.TemporaryDirectory(prefix="smp-floor-") as folder:
        store = embedded.Store(folder)
        try:
            out = subprocess.run(
                ["cargo", "run", "--quiet", "--release", "--example", "floor", "--", store.url],
                cwd=HERE.parent,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        finally:
            store.stop()
    rows = [line.split() for line in out.splitlines()]
    return {name: {"unit": unit, "best": float(best), "median": float(median)} for name, unit, best, median in rows}


def tcp_floor():
    """Runs floor.py on the same binary, over TCP."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="smp-floor-"))
        port = "16390"
        server = subprocess.Popen(
            [embedded.find_server(), "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(server.communicate)
        stack.callback(server.kill)
        for line in server.stdout:
            if "eady to accept" in line:
                break
        command = [sys.executable, HERE / "floor.py", "--port", port, "--reps", "5", "--budget", "0.05"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print("floor.py was left out:", done.stderr.strip().splitlines()[-1:], "\n")
            return {}
    figures = json.loads(done.stdout)["figures"]
    return {
        f"tcp {name}": {"unit": f["unit"], "best": f["min" if f["better"] == "lower" else "max"], "median": f["median"]}
        for name, f in figures.items()
    }


def judge(stdlib, ours, floor):
    """Compares medians with our aims."""
    print("\n| aim | allowed | measured | |\n|---|---:|---:|---|")

    def row(text, allowed, measured, *, at_least=False):
        met = measured >= allowed if at_least else measured <= allowed
        print(f"| {text} | {'≥' if at_least else '≤'} {allowed:g} | {measured:.3g} | {'met' if met else 'MISSED'} |")

    with contextlib.suppress(KeyError):
        name = "process_warm_start_join_ms"
        row("Process start+join, warm / spawn's", 1 / 3, ours[name]["median"] / stdlib[name]["median"])
    with contextlib.suppress(KeyError):
        row(
            "Pipe 64 B / LPUSH+BRPOP ping-pong",
            1.5,
            ours["pipe_rtt_64B_us"]["median"] / floor["floor_pingpong_64B_us"]["median"],
        )
    with contextlib.suppress(KeyError):
        pair = 1e6 / ours["lock_uncontended_pairs_per_s"]["median"]
        row("Lock pair / one EVALSHA", 1.5, pair / floor["floor_evalsha_us"]["median"])
    with contextlib.suppress(KeyError):
        rate = ours["queue_1000B_items_per_s"]["median"] / floor["floor_queue_1000B_items_per_s"]["median"]
        row("Queue 1,000 B / one blocking pop an item", 0.8, rate, at_least=True)
    with contextlib.suppress(KeyError):
        rate = ours["pool_map_10000_chunk1_items_per_s"]["median"]
        row("Pool(4).map of 10,000, chunksize 1, items/s", 10_000, rate, at_least=True)


if __name__ == "__main__":
    main()

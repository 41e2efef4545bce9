"""How long 1,000 launches take: ours, and the same number of Invoke calls by boto3 in threads, to a stub of Lambda's API.

    python benchmarks/launches.py [--count 1000] [--repeat 3]

The stub is a process of its own. It answers no invocation until the last one has arrived, so all are in flight at once, as with
running functions. The time begins when the first `start()` has returned (or the first call was submitted), and ends when the
stub has read the last request. Processor seconds are those of the launching process. Our launches do more: each is a real
`Process.start()`, which writes a sealed record to the store.
"""

import argparse
import asyncio
import concurrent.futures
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time

DESCRIPTION = {"FunctionName": "f", "MemorySize": 1769, "Timeout": 900, "State": "Active", "Architectures": ["x86_64"]}
# The supervisor's report of an invocation whose processes have ended.
ANSWER = b'{"serverless_mp":{"taken":[],"milliseconds":1}}'

SIDES = {
    "spawn": "serverless_mp, Process.start(), spawn",
    "fork": "serverless_mp, Process.start(), fork",
    "boto": "boto3 invoke, a thread each",
}


async def stub(count: int) -> None:
    """Serves; prints its port, then for each round the time of its last request."""
    waiting: list[asyncio.StreamWriter] = []

    def answer(writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                await reader.readexactly(length)
                if head.startswith("get "):
                    answer(writer, json.dumps(DESCRIPTION).encode())
                    continue
                waiting.append(writer)
                if len(waiting) == count:
                    print(time.time(), flush=True)
                    for other in waiting:
                        answer(other, ANSWER)
                    waiting.clear()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def nothing() -> None:
    pass


def ours(count: int, method: str) -> None:
    """Calls `Process.start()` for each process. Prints the time of the beginning and the processor seconds."""
    multiprocessing.set_start_method(method)
    warm = multiprocessing.Process(target=nothing)  # opens the session and looks up the function
    processes = [multiprocessing.Process(target=nothing) for _ in range(count - 1)]
    warm.start()
    begin, used = time.time(), cpu()
    for process in processes:
        process.start()
    multiprocessing.connection.wait([processes[-1].sentinel])
    print(begin, cpu() - used)


def boto(count: int) -> None:
    """Invokes from one thread per call, since a call blocks. Prints the same as `ours`."""
    import boto3
    import botocore.config

    config = botocore.config.Config(max_pool_connections=count, retries={"max_attempts": 0}, read_timeout=900)
    client = boto3.client("lambda", config=config)
    event = json.dumps({"serverless_mp": {"key": "0" * 64, "url": "redis://store:6379", "jobs": [{"job": "0" * 16}]}}).encode()
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        first = pool.submit(client.invoke, FunctionName="f", Payload=event)
        begin, used = time.time(), cpu()
        calls = [pool.submit(client.invoke, FunctionName="f", Payload=event) for _ in range(count - 1)]
        for call in [first, *calls]:
            call.result()
    print(begin, cpu() - used)


def measure(side: str, count: int) -> tuple[float, float]:
    """Returns the seconds until the last request, and the processor seconds."""
    me = [sys.executable, __file__, "--count", str(count), "--side"]
    with subprocess.Popen([*me, "stub"], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().strip()
            env = os.environ | {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
            env |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "SERVERLESS_MP_LAUNCHER": "lambda"}
            command = [sys.executable, "-m", "serverless_mp.cli", "run", *me[1:]] if side != "boto" else me
            done = subprocess.run([*command, side], env=env, capture_output=True, text=True, check=True, timeout=300)
            last = float(server.stdout.readline())
        finally:
            server.kill()
    begin, used = map(float, done.stdout.split())
    return last - begin, used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--side", choices=["stub", "spawn", "fork", "boto"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.side == "stub":
        asyncio.run(stub(options.count))
    elif options.side:
        boto(options.count) if options.side == "boto" else ours(options.count, options.side)
    else:
        print(f"| {options.count} launches | median s | best s | processor s (median) |\n|---|---:|---:|---:|")
        medians = {}
        for side, name in SIDES.items():
            runs = [measure(side, options.count) for _ in range(options.repeat)]
            medians[side] = statistics.median(wall for wall, _ in runs)
            used = statistics.median(used for _, used in runs)
            print(f"| {name} | {medians[side]:.2f} | {min(wall for wall, _ in runs):.2f} | {used:.2f} |", flush=True)
        print(f"\nspawn / boto3: {medians['spawn'] / medians['boto']:.2f}")


if __name__ == "__main__":
    main()

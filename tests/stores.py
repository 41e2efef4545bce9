"""Real servers for the tests: a Redis on TCP with a password, and a cluster of three nodes."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time

from serverless_mp.store.embedded import find_server

PASSWORD = "p@ss/word"
QUOTED = "p%40ss%2Fword"


class Connection:
    """A minimal client, to examine a server from outside."""

    def __init__(self, address, password=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")
        if password:
            self.call("AUTH", password)

    def call(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
        return self._reply()

    def _reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def info(self, section):
        pairs = (line.split(":", 1) for line in self.call("INFO", section).decode().splitlines() if ":" in line)
        return dict(pairs)

    def close(self):
        self.file.close()
        self.socket.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(folder, *options, binary=None, password=PASSWORD):
    """Runs a server on a free port of 127.0.0.1; yields the port."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *options]
    if password:
        options += ["--requirepass", password]
    # The log goes to a file, since a pipe that is not read would block the server.
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary or find_server(), *options], cwd=folder, stdout=log, stderr=log)
    try:
        last = time.monotonic() + 30
        while not answers(port, password):
            if process.poll() is not None or time.monotonic() > last:
                raise RuntimeError("the server did not start:\n" + (folder / "log").read_text()[-2000:])
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def answers(port, password):
    """Whether a server answers and has loaded its data."""
    with contextlib.suppress(OSError, RuntimeError):
        connection = Connection(("127.0.0.1", port), password)
        try:
            return connection.call("PING") == b"PONG"
        finally:
            connection.close()
    return False


@contextlib.contextmanager
def started(kind, folder):
    """Starts a store of this kind; yields its URL, or None for a private store."""
    if kind == "private":
        yield None
    elif kind == "redis":
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("the tests on redis need redis-server on PATH (apt install redis-server)")
        with server(folder, binary=binary) as port:
            yield f"redis://:{QUOTED}@127.0.0.1:{port}/1"
    elif kind == "cluster":
        with cluster(folder) as ports:
            yield f"redis+cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"
    else:
        raise ValueError(f"SERVERLESS_MP_TEST_STORE is {kind!r}: private, redis or cluster")


@contextlib.contextmanager
def cluster(folder):
    """Starts three nodes that share the slots; yields their ports."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(server(folder / str(i), "--cluster-enabled", "yes", password=None)) for i in range(3)]
        nodes = [Connection(("127.0.0.1", port)) for port in ports]
        bounds = [0, 5461, 10923, 16384]
        for node, first, last in zip(nodes, bounds, bounds[1:], strict=False):
            node.call("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        for port in ports[1:]:
            nodes[0].call("CLUSTER", "MEET", "127.0.0.1", port)
        deadline = time.monotonic() + 30
        while not all(
            len(node.call("CLUSTER", "SLOTS")) == 3 and b"state:ok" in node.call("CLUSTER", "INFO") for node in nodes
        ):
            if time.monotonic() > deadline:
                raise RuntimeError("the cluster did not form")
            time.sleep(0.05)
        yield ports

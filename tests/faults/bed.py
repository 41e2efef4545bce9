"""A store that fails on purpose: a server on TCP behind a proxy. It is restarted, moved or filled, or loses its functions."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import stores
from serverless_mp.store.embedded import find_server

# Options with which everything acknowledged survives a restart.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class Server:
    """A server that can be killed and started again, with or without its data."""

    def __init__(self, folder: Path, *options: str, binary: str | None = None, env: dict[str, str] | None = None) -> None:
        self.folder, self.options, self.port, self.env = folder, options, stores.free_port(), os.environ | (env or {})
        self.binary = binary or find_server()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes"]
        password = ["--requirepass", stores.PASSWORD, "--masterauth", stores.PASSWORD]
        with open(self.folder / "log", "ab") as log:
            command += [*password, *self.options]
            self.process = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        last = time.monotonic() + 30
        while time.monotonic() < last and self.process.poll() is None:
            if stores.answers(self.port, stores.PASSWORD):
                return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def call(self, *words):
        """Sends a command on a connection of its own."""
        connection = stores.Connection(("127.0.0.1", self.port), stores.PASSWORD)
        try:
            return connection.call(*words)
        finally:
            connection.close()

    def role(self) -> str:
        return self.call("ROLE")[0].decode()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Proxy:
    """A TCP proxy that delays data, cuts connections in the middle of a transfer, and can be down.

    `before_reply`, if set, is called once, at the next answer of the server: the answer and its connection are lost.
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        self.target, self.random, self.delay = target, random.Random(seed), 0.0
        self.is_up, self.cuts, self.before_reply = True, 0, None
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://:{stores.QUOTED}@127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                if not self.is_up:
                    near.close()
                    far.close()
                    continue
                pair = near, far
                with self._lock:
                    self._pairs.add(pair)
                for source, sink in (pair, pair[::-1]):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self._pump, args=(source, sink, pair), daemon=True).start()

    def _pump(self, source, sink, pair) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.delay:
                    time.sleep(self.delay * (0.5 + self.random.random()))
                if source is pair[1]:
                    with self._lock:
                        act, self.before_reply = self.before_reply, None
                    if act is not None:
                        act()
                        self.cuts += 1
                        break
                sink.sendall(data)
        self._close(pair)

    def _close(self, pair) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for side in pair:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def cut(self, every: bool = False) -> None:
        """Cuts one connection, or all of them."""
        with self._lock:
            pairs = sorted(self._pairs, key=id)
        for pair in pairs if every else self.random.sample(pairs, min(1, len(pairs))):
            self.cuts += 1
            self._close(pair)

    def down(self) -> None:
        self.is_up = False
        self.cut(every=True)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        self._listener.close()
        self.cut(every=True)


class Scenario:
    """A fault that is repeated while a program runs. `hits` counts the repetitions."""

    options: tuple[str, ...] = ()
    # The mean time between two faults, in seconds.
    pause = 0.15

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random, self.hits = folder, random.Random(seed), 0
        self.server = Server(folder / "store", *self.options, env=self.env())
        self.proxy = Proxy(self.server.port, seed)
        self.prepare()

    def env(self) -> dict[str, str]:
        """Returns environment variables for the server."""
        return {}

    @property
    def url(self) -> str:
        """The store's URL for the program."""
        return self.proxy.url

    def prepare(self) -> None:
        """Called before the program begins."""

    def fault(self) -> None:
        """Causes one fault."""

    def hit(self) -> None:
        """Causes the fault and counts it, if the store is there for it."""
        with contextlib.suppress(ConnectionError, EOFError):
            self.fault()
            self.hits += 1

    def drive(self, program: subprocess.Popen, limit: float) -> bool:
        """Repeats the fault until the program has ended; returns whether it has ended in time."""
        last = time.monotonic() + limit
        while program.poll() is None and time.monotonic() < last:
            self.hit()
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(self.random.expovariate(1 / self.pause))
        return program.poll() is not None

    def close(self) -> None:
        self.proxy.close()
        self.server.close()


class Cuts(Scenario):
    """Connections break in the middle of a transfer."""

    def fault(self):
        self.proxy.cut()


class Kills(Scenario):
    """The server ends connections."""

    def fault(self):
        clients = [line for line in self.server.call("CLIENT", "LIST").decode().splitlines() if "name=serverless_mp" in line]
        if clients:
            self.server.call("CLIENT", "KILL", "ID", self.random.choice(clients).split()[0].removeprefix("id="))


class Flushes(Scenario):
    """The store loses our functions."""

    pause = 0.05

    def fault(self):
        self.server.call("FUNCTION", "FLUSH")


class FlushesAndCuts(Scenario):
    """The store loses our functions together with a reply."""

    def fault(self):
        self.proxy.before_reply = lambda: self.server.call("FUNCTION", "FLUSH")


class Pauses(Scenario):
    """The server stops for a while."""

    pause = 0.5

    def fault(self):
        self.server.signal(signal.SIGSTOP)
        time.sleep(0.3)  # the fault itself
        self.server.signal(signal.SIGCONT)


class Restarts(Scenario):
    """The server is killed, and started again with everything that it had acknowledged."""

    options = DURABLE
    pause = 0.6

    def fault(self):
        self.server.kill()
        self.server.start()


class Latency(Scenario):
    """The server is some milliseconds away."""

    def prepare(self):
        self.proxy.delay = 0.004
        self.hits = 1

    def fault(self):
        self.hits -= 1


class Failovers(Scenario):
    """The server and a complete replica change places again and again."""

    options = ("--repl-diskless-sync-delay", "0")
    pause = 0.3

    def prepare(self):
        self.other = Server(self.folder / "other", *self.options)
        self.other.call("REPLICAOF", "127.0.0.1", self.server.port)
        self._follows()

    def _follows(self):
        _until(lambda: b"master_link_status:up" in self.other.call("INFO", "replication"))

    def fault(self):
        self._follows()
        self.proxy.is_up = False
        self.server.call("FAILOVER", "TIMEOUT", 5000)
        _until(lambda: self.other.role() == "master")
        self.server, self.other = self.other, self.server
        self.proxy.target = self.server.port
        self.proxy.cut(every=True)
        self.proxy.is_up = True

    def close(self):
        super().close()
        self.other.close()


class Demotions(Failovers):
    """The same, but connections stay at the old primary, which no longer takes writes."""

    def fault(self):
        self._follows()
        self.server.call("FAILOVER", "TIMEOUT", 5000)
        _until(lambda: self.other.role() == "master")
        self.server, self.other = self.other, self.server
        self.proxy.target = self.server.port


class FullMemory(Scenario):
    """The store has no memory for a moment, again and again."""

    def fault(self):
        self.server.call("CONFIG", "SET", "maxmemory", "1")
        time.sleep(0.1)  # the fault itself
        self.server.call("CONFIG", "SET", "maxmemory", "0")


class ClockSteps(Scenario):
    """The server's clock steps forward and back, by less than the rest of a lease. Needs libfaketime."""

    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

    def env(self):
        self.clock = self.folder / "clock"
        self.clock.write_text("+0")
        faked = {"FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
        return {"LD_PRELOAD": str(self.library), **faked}

    def fault(self):
        self.clock.write_text(f"{self.random.randint(-9, 9):+}")


class Loading(Scenario):
    """The server loads its data again, and answers with LOADING meanwhile."""

    options = DURABLE
    pause = 0.6

    def prepare(self):
        self.server.call("CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
        self.server.call("CONFIG", "SET", "key-load-delay", "300")

    def fault(self):
        # The server then loads its current data, not its whole history. It may be rewriting its file by itself.
        _until(lambda: b"aof_rewrite_in_progress:0" in self.server.call("INFO", "persistence"))
        self.server.call("BGREWRITEAOF")
        _until(lambda: b"aof_rewrite_in_progress:0" in self.server.call("INFO", "persistence"))
        self.server.call("DEBUG", "LOADAOF")


class Resharding(Scenario):
    """Slots that have keys move from node to node, key by key."""

    pause = 0.05

    def __init__(self, folder: Path, seed: int) -> None:
        self.random, self.hits = random.Random(seed), 0
        self._stack = contextlib.ExitStack()
        self.ports = self._stack.enter_context(stores.cluster(folder))
        self.nodes = [stores.Connection(("127.0.0.1", port)) for port in self.ports]
        self.names = [node.call("CLUSTER", "MYID") for node in self.nodes]

    @property
    def url(self):
        return f"redis+cluster://127.0.0.1:{self.ports[0]}"

    def fault(self):
        source = self.random.randrange(len(self.nodes))
        target = (source + 1) % len(self.nodes)
        keys = self.nodes[source].call("KEYS", "smp:*")
        if not keys:
            raise ConnectionError("this node has no keys")
        slot = self.nodes[source].call("CLUSTER", "KEYSLOT", self.random.choice(keys))
        self.nodes[target].call("CLUSTER", "SETSLOT", slot, "IMPORTING", self.names[source])
        self.nodes[source].call("CLUSTER", "SETSLOT", slot, "MIGRATING", self.names[target])
        while keys := self.nodes[source].call("CLUSTER", "GETKEYSINSLOT", slot, 1):
            time.sleep(0.003)  # meanwhile the slot's keys are on both nodes
            self.nodes[source].call("MIGRATE", "127.0.0.1", self.ports[target], "", 0, 5000, "KEYS", *keys)
        for node in (self.nodes[target], self.nodes[source], *self.nodes):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", self.names[target])
        _until(self.agree)

    def agree(self):
        """Whether all nodes say the same of the slots, and of the epoch of each node's claims."""
        views = set()
        for node in self.nodes:
            lines = [line.split() for line in node.call("CLUSTER", "NODES").decode().splitlines()]
            views.add(frozenset((words[0], *words[6:]) for words in lines))
            if b"cluster_state:ok" not in node.call("CLUSTER", "INFO"):
                return False
        return len(views) == 1

    def close(self):
        for node in self.nodes:
            node.close()
        self._stack.close()


def _until(condition, seconds=20):
    last = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > last:
            raise RuntimeError("the servers do not agree")
        time.sleep(0.02)


SCENARIOS = [
    Cuts,
    Kills,
    Flushes,
    FlushesAndCuts,
    Pauses,
    Restarts,
    Latency,
    Failovers,
    Demotions,
    FullMemory,
    Loading,
    Resharding,
    *([ClockSteps] if ClockSteps.library else []),
]

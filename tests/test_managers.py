"""Managers."""

import contextlib
import multiprocessing
import multiprocessing.managers
import os
import resource
import signal
import socket
import threading
import time
from multiprocessing import connection

import pytest

from contexts import is_ours
from forks import fork
from serverless_mp import _core, managers


def use(d, l, ns, lock, queue):
    d["from the worker"] = [1, 2]
    with lock:
        l.append("worker")
    ns.x += 1
    queue.put("done")


def test_proxies(mp):
    with mp.Manager() as manager:
        d, l, ns = manager.dict(a=1), manager.list([1]), manager.Namespace(x=1)
        lock, queue = manager.Lock(), manager.Queue()
        process = mp.Process(target=use, args=(d, l, ns, lock, queue))
        process.start()
        assert queue.get(timeout=30) == "done"
        process.join()
        assert dict(d) == {"a": 1, "from the worker": [1, 2]}
        assert list(l) == [1, "worker"]
        assert ns.x == 2
        event, value, array = manager.Event(), manager.Value("i", 3), manager.Array("i", [1, 2])
        event.set()
        assert event.is_set() and value.value == 3 and array[1] == 2
        pool = manager.Pool(2)
        assert pool.map(abs, [-1, -2]) == [1, 2]
        with pytest.raises(KeyError):
            d["absent"]


class Counter:
    def __init__(self, start):
        self.count = start

    def add(self, n):
        self.count += n
        return self.count


def test_own_types(smp):
    class CounterManager(managers.BaseManager):
        pass

    CounterManager.register("Counter", Counter)
    manager = CounterManager(ctx=smp)
    server = manager.get_server()
    assert server.address.startswith("serverless-mp:")
    server.listener.close()


def test_the_key_is_checked(smp):
    with smp.Manager() as manager:
        other = managers.BaseManager(address=manager.address, authkey=b"another")
        with pytest.raises(multiprocessing.AuthenticationError):
            other.connect()


def test_the_process_that_has_started_it_needs_no_store(smp):
    with smp.Manager() as manager:
        d = manager.dict()
        d["large"] = bytes(1 << 20)
        before = _core.counters()["commands"]
        for i in range(100):
            d["key"] = i
        assert d["key"] == 99 and len(d["large"]) == 1 << 20
        assert _core.counters()["commands"] == before


def set_memory(value):
    global memory
    memory = value


class Memory:
    """Memory that the server shares with the processes that call it."""

    def read(self):
        return memory[0]

    def write(self, x):
        memory[0] = x


class OurManager(managers.BaseManager):
    pass


class CPythonsManager(multiprocessing.managers.BaseManager):
    pass


for one in (OurManager, CPythonsManager):
    one.register("Memory", Memory)


def make_manager(mp):
    return (OurManager if is_ours(mp) else CPythonsManager)(ctx=mp)


class Files:
    """Descriptors of the server's process."""

    def fill(self):
        self.files = []
        with contextlib.suppress(OSError):
            while True:
                self.files.append(open("/dev/null"))  # noqa: SIM115 - closed by `free`

    def free(self):
        for file in self.files:
            file.close()

    def inheritable_sockets(self):
        found = [fd for fd in os.listdir("/proc/self/fd") if "socket" in target_of(fd) and os.get_inheritable(int(fd))]
        return len(found)


def target_of(fd):
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{fd}")
    return ""


def limit_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))


for one in (OurManager, CPythonsManager):
    one.register("Files", Files)


def write_by_server(proxy, x):
    proxy.write(x)


def test_a_call_and_its_return_order_what_is_written_to_shared_memory(mp):
    array = mp.RawArray("i", 10)
    manager = make_manager(mp)
    manager.start(set_memory, (array,))
    with manager:
        proxy = manager.Memory()
        for i in range(1, 50):
            array[0] = i
            assert proxy.read() == i
            proxy.write(-i)
            assert array[0] == -i
        process = mp.Process(target=write_by_server, args=(proxy, 7))
        process.start()
        process.join()
        assert proxy.read() == array[0] == 7


def test_threads_have_connections_of_their_own(mp):
    with mp.Manager() as manager:
        l = manager.list()
        threads = [threading.Thread(target=l.append, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(l) == list(range(20))


def test_a_child_of_the_programs_own_fork_calls_too(mp):
    with mp.Manager() as manager:
        d = manager.dict(parent=1)
        fork(lambda: d.update(child=d["parent"] + 1))()
        d["parent"] = 3
        assert dict(d) == {"parent": 3, "child": 2}


def test_the_server_has_died(mp):
    with mp.Manager() as manager:
        d = manager.dict()
        os.kill(manager._process.pid, signal.SIGKILL)
        manager._process.join()
        with pytest.raises((EOFError, ConnectionError)):
            d["key"] = 1
        with pytest.raises((ConnectionError, FileNotFoundError)):
            manager.dict()


def leave_open(_):
    raise ValueError("no server")


def test_a_server_that_cannot_begin(mp):
    manager = make_manager(mp)
    with pytest.raises(EOFError):
        manager.start(leave_open, (1,))
    with pytest.raises(TypeError, match="callable"):
        make_manager(mp).start(5)


def test_a_server_that_is_short_of_descriptors_takes_connections_later(smp):
    manager = OurManager(ctx=smp)
    manager.start(limit_descriptors)
    with manager:
        files = manager.Files()
        files.fill()
        found = []
        waiting = threading.Thread(target=lambda: found.append(files.inheritable_sockets()))
        waiting.start()
        waiting.join(0.2)
        assert not found
        files.free()
        waiting.join(30)
        another = threading.Thread(target=lambda: found.append(files.inheritable_sockets()))
        another.start()
        another.join(30)
        assert len(found) == 2


def test_what_a_server_starts_holds_no_connection(mp):
    manager = make_manager(mp)
    manager.start()
    with manager:
        assert manager.Files().inheritable_sockets() == 0


def test_a_time_limit_of_sockets_is_not_that_of_connections(mp):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.05)
    try:
        manager = mp.Manager()
    finally:
        socket.setdefaulttimeout(before)
    with manager:
        d = manager.dict()
        time.sleep(0.2)  # longer than the limit
        d["key"] = 1
        got = []
        thread = threading.Thread(target=lambda: got.append(d["key"]))
        thread.start()
        thread.join(30)
        assert got == [1]


class LateServer(managers.Server):
    """Its `serve_forever` is held up at its first step, until a call has ended or some time has passed."""

    ended = threading.Event()

    def __setattr__(self, name, value):
        if name == "stop_event":
            self.ended.wait(0.5)
        super().__setattr__(name, value)

    def accept_connection(self, connection, name):
        try:
            super().accept_connection(connection, name)
        finally:
            self.ended.set()


class LateManager(managers.SyncManager):
    _Server = LateServer


def test_calls_wait_until_the_server_is_ready(smp):
    with LateManager(ctx=smp) as manager:
        assert manager.dict(a=1)["a"] == 1


def interrupted(*_):
    raise KeyboardInterrupt


def test_an_interrupted_start_leaves_no_server(smp, monkeypatch):
    manager = managers.SyncManager(ctx=smp)
    monkeypatch.setattr(connection.Connection, "recv", interrupted)  # of the server's address
    with pytest.raises(KeyboardInterrupt):
        manager.start()
    manager._process.join(30)
    assert manager._process.exitcode == -signal.SIGTERM


def test_an_interrupted_shutdown_leaves_no_server(smp, monkeypatch):
    manager = smp.Manager()
    monkeypatch.setattr(connection, "answer_challenge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        manager.shutdown()
    manager._process.join(30)
    assert manager._process.exitcode == -signal.SIGTERM

"""The capacity of a pipe: a sender that is too fast waits, and is woken."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import time

import pytest

import stores
from places import STORE
from serverless_mp import _core

SIZE = 10_000
ITEM = bytes(1000)
# The size of an item is that of its payload and 256 bytes; the pipe takes an item while it has any capacity left.
FITS = 8


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setenv("SERVERLESS_MP_PIPE_SIZE", str(SIZE))


class Sender(threading.Thread):
    def __init__(self, connection, count):
        super().__init__(daemon=True)
        self.connection, self.count, self.sent, self.error = connection, count, 0, None

    def run(self):
        try:
            for _ in range(self.count):
                self.connection.send_bytes(ITEM)
                self.sent += 1
        except OSError as e:
            self.error = e


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_send_waits_for_capacity(smp):
    reader, writer = smp.Pipe(duplex=False)
    sender = Sender(writer, 100)
    sender.start()
    until(lambda: sender.sent == FITS)
    for received in range(100):
        assert sender.sent <= received + FITS + 1
        assert reader.recv_bytes() == ITEM
    sender.join(30)
    assert (sender.sent, sender.error, reader.poll()) == (100, None, False)


def test_both_directions_have_a_capacity_of_their_own(smp):
    here, there = smp.Pipe()
    sender = Sender(here, 9)
    sender.start()
    until(lambda: sender.sent == FITS)
    there.send("back")
    assert here.recv() == "back"
    assert there.recv_bytes() == ITEM
    there.close()
    sender.join(30)


def test_a_waiting_sender_sees_that_its_reader_closes(smp):
    reader, writer = smp.Pipe(duplex=False)
    sender = Sender(writer, 100)
    sender.start()
    until(lambda: sender.sent == FITS)
    reader.close()
    sender.join(30)
    assert isinstance(sender.error, BrokenPipeError)


def test_a_message_larger_than_the_pipe(smp):
    reader, writer = smp.Pipe(duplex=False)
    writer.send_bytes(bytes(3_000_000))
    assert len(reader.recv_bytes()) == 3_000_000


def test_a_sender_in_another_process(smp):
    reader, writer = smp.Pipe(duplex=False)
    process = smp.Process(target=send_all, args=(writer, 50))
    process.start()
    writer.close()
    assert [len(reader.recv_bytes()) for _ in range(50)] == [1000] * 50
    with pytest.raises(EOFError):
        reader.recv()
    process.join()
    assert process.exitcode == 0


def send_all(writer, count):
    for _ in range(count):
        writer.send_bytes(ITEM)


def test_the_feeder_of_a_queue_waits_and_put_does_not(smp):
    """A feeder asks for the capacity once per MiB."""
    queue = smp.Queue()
    item = bytes(1 << 16)
    for _ in range(200):
        queue.put(item)
    most = 0
    for left in range(200, 0, -1):
        assert queue.qsize() == left
        most = max(most, len(queue._reader._handle))
        assert queue.get() == item
    assert most <= 2 * (1 << 20) // len(item) + 2
    assert queue.empty()


def start(event):
    global gate
    gate = event


def wait_for_gate(number):
    gate.wait()
    return number


def test_endless_tasks_stay_lazy(smp):
    """While the workers are busy, the pool draws no more of an endless iterable than fits; this does not delay its end."""
    numbers, event = itertools.count(), smp.Event()
    drawn = [0]

    def draw():
        for drawn[0] in numbers:
            yield drawn[0]

    with smp.Pool(2, start, (event,)) as pool:
        results = pool.imap(wait_for_gate, draw())
        before = -1
        while (before != drawn[0] or not drawn[0]) and drawn[0] < 50_000:
            before = drawn[0]
            time.sleep(0.2)
        assert 0 < drawn[0] < 20_000
        event.set()
        assert list(itertools.islice(results, 50)) == list(range(50))
        event.clear()


def meet(data):
    gate.wait(30)
    return len(data)


def test_tasks_in_work_do_not_fill_the_pipe(smp):
    """Each task is larger than the pipe, and none ends before all have begun."""
    with smp.Pool(3, start, (smp.Barrier(3),)) as pool:
        assert pool.map_async(meet, [bytes(2 << 20)] * 3, chunksize=1).get(60) == [2 << 20] * 3


def store_of(smp):
    """Returns a connection to the private store."""
    from urllib.parse import unquote

    smp.Lock()
    path, password = _core.session_info()["url"].removeprefix("redis+unix://").split("?pass=")
    return stores.Connection(unquote(path), unquote(password))


def names_of_big_messages(client):
    return {key for key in client.call("KEYS", "*") if client.call("TYPE", key.decode()) == b"string"}


private = pytest.mark.skipif(STORE != "private", reason="looks into the private store")


@private
def test_big_messages_that_cannot_be_sent_leave_nothing(smp):
    client = store_of(smp)
    before = names_of_big_messages(client)
    reader, writer = smp.Pipe(duplex=False)
    reader.close()
    with pytest.raises(BrokenPipeError):
        writer.send_bytes(bytes(3 << 20))
    _core.settle()
    assert names_of_big_messages(client) <= before
    client.close()


def die(argument):
    os._exit(len(argument) % 7 + 1)


def length(argument):
    return len(argument)


@private
def test_the_size_of_tasks_whose_workers_died_is_counted_once(smp):
    client = store_of(smp)
    with smp.Pool(2) as pool:
        pipe = f"*{pool._inqueue._queue.id}*"
        for size in (100, 2 << 20):
            with pytest.raises(multiprocessing.ProcessError):
                pool.apply(die, (bytes(size),))
            assert pool.map(length, [bytes(size)] * 3) == [size] * 3
        _core.settle()
        key = next(key for key in client.call("KEYS", pipe) if client.call("TYPE", key.decode()) == b"hash")
        until(lambda: [client.call("HGET", key.decode(), f"b{end}") for end in (0, 1)] == [b"0", b"0"])
    client.close()


def get_and_die(queue, count, ready, go):
    ready.set()
    go.wait()
    for _ in range(count):
        queue.get()
    os.kill(os.getpid(), signal.SIGKILL)


@private
@pytest.mark.parametrize("pipe_size", [SIZE, 16 << 20])
@pytest.mark.parametrize("count", [1, 30, 100])
def test_the_size_of_items_that_were_read_ahead_is_counted_once(smp, monkeypatch, pipe_size, count):
    monkeypatch.setenv("SERVERLESS_MP_PIPE_SIZE", str(pipe_size))
    client = store_of(smp)
    queue, ready, go = smp.Queue(), smp.Event(), smp.Event()
    pipe = queue._reader._handle.id
    process = smp.Process(target=get_and_die, args=(queue, count, ready, go))
    process.start()
    for i in range(100):
        queue.put(bytes(1000 + i))
    go.set()
    process.join()
    assert [len(queue.get(timeout=30)) for _ in range(100 - count)] == [1000 + i for i in range(count, 100)]
    _core.settle()
    (key,) = (key.decode() for key in client.call("KEYS", f"*{pipe}*") if client.call("TYPE", key.decode()) == b"hash")
    until(lambda: client.call("HGET", key, "b0") == b"0")
    assert client.call("KEYS", "*:b:*") == []
    client.close()


@contextlib.contextmanager
def without_memory(client):
    """The store has no memory for anything new."""
    _, before = client.call("CONFIG", "GET", "maxmemory")
    client.call("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        client.call("CONFIG", "SET", "maxmemory", before.decode())


@private
@pytest.mark.parametrize("count", [0, 30])
def test_a_full_store_does_not_hold_up_a_reader(smp, monkeypatch, count):
    monkeypatch.setenv("SERVERLESS_MP_PIPE_SIZE", str(16 << 20))
    client = store_of(smp)
    queue, ready, go = smp.Queue(), smp.Event(), smp.Event()
    process = smp.Process(target=get_and_die, args=(queue, count, ready, go))
    process.start()
    for i in range(130):
        queue.put(i)
    ready.wait()
    until(lambda: queue._sem.unsent == 0)
    with without_memory(client):
        go.set()
        process.join()
        assert [queue.get(timeout=10) for _ in range(130 - count)] == list(range(count, 130))
    client.close()


@private
def test_nothing_of_big_tasks_is_left(smp):
    """A task of more than a megabyte is stored apart, until its result has arrived or it has killed its workers."""
    client = store_of(smp)
    with smp.Pool(2) as pool:
        for _ in range(2):
            assert pool.map(length, [bytes(2 << 20)] * 3, chunksize=1) == [2 << 20] * 3
        with pytest.raises(multiprocessing.ProcessError):
            pool.apply(die, (bytes(2 << 20),))
        _core.settle()
        until(lambda: client.call("KEYS", "*:G:*") == [])
    client.close()


@private
@pytest.mark.parametrize("size", [150_000, 3 << 20])
def test_a_deleted_pipe_takes_its_big_messages_along(smp, size):
    client = store_of(smp)
    before = {*client.call("KEYS", "*")}
    queue, (reader, writer) = smp.Queue(), smp.Pipe(duplex=False)
    queue.put(bytes(size))
    writer.send_bytes(bytes(size))
    until(lambda: queue._sem.unsent == 0)
    assert len(names_of_big_messages(client) - before) >= 2
    queue.close()
    queue.join_thread()
    reader.close()
    writer.close()
    _core.settle()
    until(lambda: {*client.call("KEYS", "*")} <= before)
    client.close()

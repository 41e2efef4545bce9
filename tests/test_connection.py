"""Pipes, listeners and clients."""

import importlib
import multiprocessing
import os
import selectors
import signal
import socket
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

import pytest

from contexts import rounds
from forks import fork


def echo(connection):
    try:
        while True:
            connection.send(connection.recv())
    except EOFError:
        pass


def send_and_end(connection):
    connection.send("last words")


def test_the_end_of_a_process_is_not_seen_before_what_it_sent(mp):
    for _ in range(rounds(mp, 40)):
        reader, writer = mp.Pipe(duplex=False)
        process = mp.Process(target=send_and_end, args=(writer,))
        process.start()
        while not (ready := wait([reader, process.sentinel], timeout=0)):
            pass
        assert reader in ready
        assert reader.recv() == "last words"
        process.join()


def test_duplex_and_end_of_file(mp):
    here, there = mp.Pipe()
    process = mp.Process(target=echo, args=(there,))
    process.start()
    there.close()
    for message in (1, "text", {"a": [1, 2]}, b"x" * 2_000_000):
        here.send(message)
        assert here.recv() == message
    here.close()
    process.join(30)
    assert process.exitcode == 0
    with pytest.raises(OSError, match="closed"):
        here.send(1)


def test_broken_pipe(mp):
    reader, writer = mp.Pipe(duplex=False)
    reader.close()
    with pytest.raises(BrokenPipeError):
        writer.send(1)
    with pytest.raises(OSError, match="write-only"):
        writer.recv()


def test_what_was_sent_is_there_after_the_sender_closed(mp):
    reader, writer = mp.Pipe(duplex=False)
    writer.send(1)
    writer.close()
    assert reader.poll()
    assert reader.recv() == 1
    for _ in range(2):
        with pytest.raises(EOFError):
            reader.recv()
    assert reader.poll()


def test_the_peer_of_a_killed_process_reads_end_of_file(mp):
    reader, writer = mp.Pipe(duplex=False)
    process = mp.Process(target=send_and_wait, args=(writer,))
    process.start()
    writer.close()
    assert reader.recv() == "ready"
    process.kill()
    with pytest.raises(EOFError):
        reader.recv()
    process.join()


def send_and_wait(writer):
    writer.send("ready")
    multiprocessing.Event().wait()


def test_bytes(mp):
    here, there = mp.Pipe()
    here.send_bytes(b"hello", 1, 3)
    assert there.recv_bytes() == b"ell"
    here.send_bytes(b"hello")
    buffer = bytearray(10)
    assert there.recv_bytes_into(buffer, 2) == 5
    assert bytes(buffer) == b"\0\0hello\0\0\0"
    here.send_bytes(b"hello")
    with pytest.raises(multiprocessing.BufferTooShort) as raised:
        there.recv_bytes_into(bytearray(2))
    assert raised.value.args == (b"hello",)
    here.send_bytes(b"hello")
    with pytest.raises(OSError, match="bad message length"):
        there.recv_bytes(2)


def test_wait_for_connections_processes_and_sockets_together(mp):
    one, one_there = mp.Pipe()
    two, two_there = mp.Pipe()
    left, right = socket.socketpair()
    process = mp.Process(target=send_and_wait, args=(two_there,))
    process.start()
    everything = [one, two, left, process.sentinel]
    assert wait([one, left], 0) == []
    assert wait(everything, 30) == [two]
    assert two.recv() == "ready"
    assert wait([one, two, left], 0.05) == []
    one_there.send(1)
    right.send(b"x")
    assert set(wait(everything, 0)) <= {one, left}
    assert one.recv() == 1
    process.kill()
    assert process.sentinel in wait([one, process.sentinel], 30)
    process.join()
    left.close()
    right.close()


def test_descriptor_is_level_triggered(mp):
    here, there = mp.Pipe()
    with selectors.DefaultSelector() as selector:
        selector.register(here, selectors.EVENT_READ)
        assert selector.select(0.05) == []
        there.send(1)
        there.send(2)
        for expected in (1, 2):
            assert selector.select(30)
            assert here.recv() == expected
        assert selector.select(0.1) == []
        there.close()
        assert selector.select(30), "the end of file is something to read"


def echo_all(connections):
    left = set(connections)
    while left:
        for connection in wait(list(left)):
            try:
                connection.send(connection.recv())
            except EOFError:
                left.remove(connection)


def test_many_connections(mp):
    """Each side waits for 150 connections, each of which brings two messages and then the end of file."""
    pipes = [mp.Pipe() for _ in range(150)]
    process = mp.Process(target=echo_all, args=([there for _, there in pipes],))
    process.start()
    for _, there in pipes:
        there.close()
    left = {here: [] for here, _ in pipes}
    for number, here in enumerate(left):
        here.send(number)
        here.send(-number)
    while unfinished := [here for here, got in left.items() if len(got) < 2]:
        for here in wait(unfinished, 60):
            left[here].append(here.recv())
    assert list(left.values()) == [[number, -number] for number in range(150)]
    for here in left:
        here.close()
    process.join(60)
    assert process.exitcode == 0


def send_by_all(connections, lock):
    for connection in connections:
        connection.send("sent")
    lock.release()


def test_wait_sees_what_was_sent_before_a_lock_was_released(mp):
    lock, pipes = mp.Lock(), [mp.Pipe(duplex=False) for _ in range(40)]
    readers = [reader for reader, _ in pipes]
    for _ in range(5):
        lock.acquire()
        assert wait(readers, 0) == []
        process = mp.Process(target=send_by_all, args=([writer for _, writer in pipes], lock))
        process.start()
        assert lock.acquire(timeout=60)
        assert wait(readers, 0) == readers
        assert [reader.recv() for reader in readers] == ["sent"] * 40
        lock.release()
        process.join()


def take_one_and_end(connection, how):
    connection.recv()
    if how == "return":
        return
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    connection.close()
    raise SystemExit(3)


@pytest.mark.parametrize("how", ["return", "kill", "exit"])
def test_the_end_of_a_process_makes_nothing_readable_that_is_empty(mp, how):
    for _ in range(3):
        here, there = mp.Pipe()
        queue = mp.SimpleQueue()
        process = mp.Process(target=take_one_and_end, args=(there, how))
        process.start()
        assert wait([here, queue._reader], 0) == []
        here.send(1)
        assert wait([here, queue._reader, process.sentinel], 60) == [process.sentinel]
        process.join()
        assert wait([here, queue._reader], 0.05) == []
        assert not here.poll()


def put_and_end(queue):
    queue.put("item")


def test_a_queue_whose_only_sender_has_ended(mp):
    queue = mp.SimpleQueue()
    assert wait([queue._reader], 0) == []
    process = mp.Process(target=put_and_end, args=(queue,))
    process.start()
    while process.sentinel not in wait([queue._reader, process.sentinel], 60):
        assert queue.get() == "item"
    process.join()
    if wait([queue._reader], 0):
        assert queue.get() == "item"
    assert wait([queue._reader], 0.1) == []


def end_suddenly():
    os._exit(7)


def test_an_executor_whose_worker_dies(mp):
    with ProcessPoolExecutor(2, mp_context=mp) as executor:
        assert executor.submit(pow, 2, 5).result(60) == 32
        with pytest.raises(BrokenProcessPool):
            executor.submit(end_suddenly).result(60)


def test_wait_of_two_for_the_same_ends(mp):
    """Each wait sees what was sent before it began, whoever else waits."""
    pipes = [mp.Pipe(duplex=False) for _ in range(12)]
    readers = [reader for reader, _ in pipes]
    process = mp.Process(target=wait_often, args=(readers,))
    process.start()
    for n in range(300):
        reader, writer = pipes[n % 12]
        writer.send(n)
        assert wait(readers, 0) == [reader]
        assert reader.recv() == n
    process.kill()
    process.join()


def wait_often(connections):
    while True:
        wait(connections, 0.01)


def take_in_turn(connection, lock, results):
    taken = []
    while None not in taken:
        wait([connection])
        with lock:
            if connection.poll():
                taken.append(connection.recv())
    results.put(taken)


def test_two_processes_wait_at_one_end(mp):
    """Each message wakes both, and one of them takes it."""
    reader, writer = mp.Pipe(duplex=False)
    lock, results = mp.Lock(), mp.SimpleQueue()
    processes = [mp.Process(target=take_in_turn, args=(reader, lock, results)) for _ in range(2)]
    for process in processes:
        process.start()
    for message in [*range(100), None, None]:
        writer.send(message)
    taken = [results.get() for _ in processes]
    assert sorted(message for part in taken for message in part[:-1]) == list(range(100))
    for process in processes:
        process.join(30)
        assert process.exitcode == 0


def test_a_connection_through_a_connection(mp):
    here, there = mp.Pipe()
    process = mp.Process(target=echo_back_through_what_is_sent, args=(there,))
    process.start()
    mine, theirs = mp.Pipe()
    here.send(theirs)
    theirs.close()
    assert mine.recv() == "through it"
    process.join()


def echo_back_through_what_is_sent(connection):
    connection.recv().send("through it")


def test_listener_and_client_in_the_store(smp):
    from serverless_mp.connection import Client, Listener

    with Listener(authkey=b"secret") as listener:
        process = smp.Process(target=connect_and_send, args=(listener.address, b"secret"))
        process.start()
        with listener.accept() as connection:
            assert connection.recv() == "hello"
        process.join()
        process = smp.Process(target=connect_and_send, args=(listener.address, b"wrong"))
        process.start()
        with pytest.raises(multiprocessing.AuthenticationError):
            listener.accept()
        process.join()
        assert process.exitcode == 1
        address = listener.address
    with pytest.raises(FileNotFoundError):
        Client(address)


def listen_and_die(connection):
    from serverless_mp.connection import Listener

    listener = Listener()
    connection.send(listener.address)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_listener_that_was_killed_refuses_connections(smp):
    from serverless_mp.connection import Client

    reader, writer = smp.Pipe(duplex=False)
    process = smp.Process(target=listen_and_die, args=(writer,))
    process.start()
    address = reader.recv()
    process.join()
    with pytest.raises(ConnectionRefusedError, match="Connection refused"):
        Client(address)


def connect_and_send(address, key):
    from serverless_mp.connection import Client

    with Client(address, authkey=key) as connection:
        connection.send("hello")


def test_a_forked_child_leaves_the_parent_its_descriptor(smp):
    here, there = smp.Pipe()
    assert not wait([here], 0.01)
    fork(here.close)()
    there.send("later")
    assert wait([here], 30) == [here]
    assert here.recv() == "later"


def accept_once(listener, seen):
    with listener.accept() as connection:
        seen.append(connection.recv())


def test_a_listener_and_its_client_in_one_process(mp):
    """The client gives its end to another thread, and closes it."""
    for number in range(40):
        with connection_of(mp).Listener(authkey=b"key") as listener:
            seen = []
            thread = threading.Thread(target=accept_once, args=(listener, seen))
            thread.start()
            with connection_of(mp).Client(listener.address, authkey=b"key") as client:
                client.send(number)
            thread.join()
            assert seen == [number]


def connection_of(mp):
    """The module of the context's connections."""
    return importlib.import_module(type(mp.Pipe()[0]).__module__)

"""The acknowledgement of an item may wait for the next message, which no program can see."""

import os
import signal
import threading

import pytest

from forks import fork
from serverless_mp import _core


def echo(connection, last=None):
    while (message := connection.recv()) != last:
        connection.send(message)


def talking(mp, target=echo, *more):
    """Starts a process at the other end of a pipe, which only it holds, and talks with it for a while."""
    here, there = mp.Pipe()
    process = mp.Process(target=target, args=(there, *more))
    process.start()
    there.close()
    for i in range(20):
        here.send(i)
        assert here.recv() == i
    return process, here


def test_a_question_and_its_answer_take_two_commands(smp):
    process, here = talking(smp)
    _core.settle()
    before = _core.counters()
    for i in range(100):
        here.send(i)
        assert here.recv() == i
    after = _core.counters()
    assert after["commands"] - before["commands"] <= 210
    assert after["round_trips"] - before["round_trips"] <= 210
    here.send(None)
    process.join()


def echo_until_asked(connection, ready, resume):
    """Receives a last message without an answer, says so, and waits."""
    echo(connection, "last")
    ready.set()
    resume.wait()
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_item_of_a_killed_receiver_does_not_come_back(smp):
    ready, resume = smp.Event(), smp.Event()
    process, here = talking(smp, echo_until_asked, ready, resume)
    here.send("last")
    ready.wait()
    resume.set()
    process.join()
    with pytest.raises(EOFError):
        here.recv()


def echo_and_pass_on(connection, queue, resume):
    """Receives a last message without an answer, gives the connection to another process, and dies."""
    echo(connection, "last")
    queue.put(connection)
    resume.wait()
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_next_holder_gets_what_follows(smp):
    queue, resume = smp.SimpleQueue(), smp.Event()
    process, here = talking(smp, echo_and_pass_on, queue, resume)
    here.send("last")
    there = queue.get()
    resume.set()
    process.join()
    here.send("next")
    assert there.recv() == "next"
    assert not there.poll()


def echo_and_start_another(connection, queue):
    """Receives a last message without an answer, and starts a process that goes on."""
    import multiprocessing

    echo(connection, "last")
    process = type(multiprocessing.current_process())(target=echo, args=(connection,))
    process.start()
    connection.close()
    process.join()
    queue.put("ended")


def test_a_child_gets_what_follows(mp):
    queue = mp.SimpleQueue()
    process, here = talking(mp, echo_and_start_another, queue)
    here.send("last")
    for i in range(20):
        here.send(i)
        assert here.recv() == i
    here.send(None)
    assert queue.get() == "ended"
    process.join()


def echo_and_fork(connection):
    echo(connection, "last")
    fork(lambda: echo(connection))()
    connection.send(connection.recv())


def test_a_child_of_the_programs_own_fork_gets_what_follows(mp):
    process, here = talking(mp, echo_and_fork)
    here.send("last")
    for i in range(20):
        here.send(i)
        assert here.recv() == i
    here.send(None)
    here.send("parent")
    assert here.recv() == "parent"
    process.join()


def take_by_threads(connection):
    """Two threads receive in turn; each answers what the other has received."""
    messages = [threading.Semaphore(1), threading.Semaphore(0)]
    received = []

    def run(me):
        while True:
            messages[me].acquire()
            message = connection.recv() if not received or received[-1] is not None else None
            if received:
                connection.send(received[-1])
            received.append(message)
            messages[1 - me].release()
            if message is None:
                return

    threads = [threading.Thread(target=run, args=(me,)) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_of_one_holder(mp):
    here, there = mp.Pipe()
    process = mp.Process(target=take_by_threads, args=(there,))
    process.start()
    there.close()
    here.send(0)
    for i in range(1, 100):
        here.send(i)
        assert here.recv() == i - 1
    here.send(None)
    assert here.recv() == 99
    process.join()
    with pytest.raises(EOFError):
        assert here.recv() is None
        here.recv()


def test_a_receiver_that_also_polls(mp):
    process, here = talking(mp)
    for i in range(50):
        here.send(i)
        assert here.poll(30)
        assert here.recv() == i
        assert not here.poll()
    here.send(None)
    process.join()


def test_a_full_pipe_goes_on_when_its_only_reader_does(smp, monkeypatch):
    monkeypatch.setenv("SERVERLESS_MP_PIPE_SIZE", "65536")
    process, here = talking(smp)
    message = bytes(10_000)
    for _ in range(5):
        sender = threading.Thread(target=lambda: [here.send(message) for _ in range(30)])
        sender.start()
        assert [here.recv() for _ in range(30)] == [message] * 30
        sender.join()
    here.send(None)
    process.join()


def receive_and_wait(connection, resume):
    """Receives some messages, then the others when it is told to."""
    for _ in range(6):
        connection.recv_bytes()
    resume.wait()
    with pytest.raises(EOFError):
        while True:
            connection.recv_bytes()


def test_a_received_message_takes_no_capacity(mp, monkeypatch):
    monkeypatch.setenv("SERVERLESS_MP_PIPE_SIZE", "65536")
    (there, here), resume = mp.Pipe(duplex=False), mp.Event()
    process = mp.Process(target=receive_and_wait, args=(there, resume))
    process.start()
    there.close()
    for _ in range(5):
        here.send_bytes(b"small")
    here.send_bytes(bytes(16_000))
    for _ in range(3):
        here.send_bytes(bytes(16_000))
    here.send_bytes(bytes(100))
    resume.set()
    here.close()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
@pytest.mark.parametrize("readers", [2, 4])
def test_threads_take_by_turns_from_a_queue_of_their_own_process(mp, kind, readers):
    """One thread may send the acknowledgement that waits for another one, which then takes again."""
    queue, got = getattr(mp, kind)(), []

    def read():
        while (item := queue.get()) is not None:
            got.append(item)

    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    for i in range(1500):
        queue.put(i)
    for _ in threads:
        queue.put(None)
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(1500))

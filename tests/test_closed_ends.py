"""Who knows that an end of a pipe is closed is told so; what was sent before a death, or before another sign, is there."""

import os
import signal
import threading

import pytest

from contexts import rounds

ROUNDS = 10


def take_until(connection, last):
    while connection.recv() != last:
        pass


def by_event(mp):
    event = mp.Event()
    return event, event.wait


def by_semaphore(mp):
    semaphore = mp.Semaphore(0)
    return semaphore, semaphore.acquire


def by_barrier(mp):
    barrier = mp.Barrier(2)
    return barrier, barrier.wait


def by_queue(mp):
    queue = mp.Queue()
    return queue, queue.get


def by_simple_queue(mp):
    queue = mp.SimpleQueue()
    return queue, queue.get


def by_pipe(mp):
    reader, writer = mp.Pipe(duplex=False)
    return writer, reader.recv


def by_joinable_queue(mp):
    queue = mp.JoinableQueue()
    queue.put(0)
    return queue, queue.join


def tell(means):
    """What the other process does so that the function of `by_...` returns."""
    for name, arguments in [("task_done", ()), ("put", (1,)), ("send", (1,)), ("release", ()), ("wait", ()), ("set", ())]:
        if hasattr(means, name) and not (name == "wait" and hasattr(means, "set")):
            getattr(means, name)(*arguments)
            return


def close_and_tell(connection, means):
    take_until(connection, "last")
    connection.close()
    tell(means)


WAYS = [by_event, by_semaphore, by_barrier, by_queue, by_simple_queue, by_pipe, by_joinable_queue]


@pytest.mark.parametrize("way", WAYS)
def test_a_sender_that_knows_of_the_end_is_refused_at_once(mp, way):
    for _ in range(rounds(mp, ROUNDS)):
        means, hear = way(mp)
        here, there = mp.Pipe()
        process = mp.Process(target=close_and_tell, args=(there, means))
        process.start()
        there.close()
        for i in range(20):
            here.send(i)
        here.send("last")
        hear()
        with pytest.raises(BrokenPipeError):
            here.send(0)
        process.join()


@pytest.mark.parametrize("way", WAYS)
def test_so_is_one_that_knows_it_from_another_thread(mp, way):
    for _ in range(rounds(mp, ROUNDS)):
        means, hear = way(mp)
        there, here = mp.Pipe(duplex=False)
        process = mp.Process(target=close_and_tell, args=(there, means))
        process.start()
        there.close()
        heard = threading.Event()
        thread = threading.Thread(target=lambda hear=hear, heard=heard: (hear(), heard.set()))
        thread.start()
        here.send("last")
        try:
            while not heard.is_set():
                here.send(0)
        except BrokenPipeError:
            heard.wait()
        with pytest.raises(BrokenPipeError):
            here.send(0)
        thread.join()
        process.join()


def test_so_is_one_that_has_closed_the_other_end(mp):
    here, there = mp.Pipe()
    here.send(0)
    there.close()
    with pytest.raises(BrokenPipeError):
        here.send(1)


def answer_until_last(connection):
    while (message := connection.recv()) != "last":
        connection.send(message)
    connection.send("last")
    connection.close()


def test_so_is_one_that_has_the_last_answer_and_the_end(mp):
    for _ in range(rounds(mp, ROUNDS)):
        here, there = mp.Pipe()
        process = mp.Process(target=answer_until_last, args=(there,))
        process.start()
        there.close()
        for message in [*range(20), "last"]:
            here.send(message)
            assert here.recv() == message
        with pytest.raises(EOFError):
            here.recv()
        with pytest.raises(BrokenPipeError):
            here.send(0)
        process.join()


def test_so_is_one_whose_other_thread_has_closed_the_other_end(mp):
    for _ in range(300):
        there, here = mp.Pipe(duplex=False)
        closed = []
        thread = threading.Thread(target=lambda there=there, closed=closed: (there.close(), closed.append(True)))
        thread.start()
        with pytest.raises(BrokenPipeError):
            while not closed:
                here.send(0)
            here.send(1)
        thread.join()


def see_messages(connection, semaphore, seen):
    for _ in range(50):
        semaphore.acquire()
        seen.send(connection.poll() and connection.recv())


@pytest.mark.parametrize("other_thread", [False, True])
def test_what_was_sent_before_is_there(mp, other_thread):
    """Who learns by another way that a message was sent can take it without waiting."""
    here, there = mp.Pipe()
    semaphore = mp.Semaphore(0)
    answers, seen = mp.Pipe(duplex=False)
    process = mp.Process(target=see_messages, args=(there, semaphore, seen))
    process.start()
    sent = threading.Semaphore(0)
    threads = []
    for i in range(50):
        here.send(i + 1)
        if other_thread:
            thread = threading.Thread(target=lambda: (sent.acquire(), semaphore.release()))
            thread.start()
            threads.append(thread)
            sent.release()
        else:
            semaphore.release()
        assert answers.recv() == i + 1
    for thread in threads:
        thread.join()
    process.join()


def send_and_die(connection, last_act):
    for i in range(100):
        connection.send(i)
    if last_act == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("last_act", ["exit", "kill"])
def test_the_messages_of_a_process_that_dies_are_there(mp, last_act):
    for _ in range(rounds(mp, ROUNDS)):
        here, there = mp.Pipe(duplex=False)
        process = mp.Process(target=send_and_die, args=(there, last_act))
        process.start()
        there.close()
        process.join()
        assert [here.recv() for _ in range(100)] == list(range(100))
        with pytest.raises(EOFError):
            here.recv()

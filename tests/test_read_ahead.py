"""A consumer may receive more items than it asked for, which no program can see."""

import multiprocessing.connection
import os
import pickle
import queue as exceptions
import signal
import threading
from multiprocessing import reduction

import pytest

from forks import fork
from serverless_mp import _core

ITEMS = 300


def fill(queue):
    for i in range(ITEMS):
        queue.put(i)


def take(queue, count, results, resume):
    """Takes some items one by one, waits, and takes as many again."""
    results.put([queue.get() for _ in range(count)])
    resume.wait()
    results.put([queue.get() for _ in range(count)])


def filled(context):
    queue = context.Queue()
    process = context.Process(target=fill, args=(queue,))
    process.start()
    process.join()
    return queue


def stopped_reader(context, queue, count):
    """Starts `take`; returns the process after its first items, its results, and the event for which it waits."""
    results, resume = context.Queue(), context.Event()
    process = context.Process(target=take, args=(queue, count, results, resume))
    process.start()
    assert results.get(timeout=30) == list(range(count))
    return process, results, resume


def test_the_next_reader_gets_what_follows(mp):
    queue = filled(mp)
    process, results, resume = stopped_reader(mp, queue, 20)
    assert [queue.get(timeout=30) for _ in range(100)] == list(range(20, 120))
    resume.set()
    assert results.get(timeout=30) == list(range(120, 140))
    process.join()
    assert [queue.get(timeout=30) for _ in range(ITEMS - 140)] == list(range(140, ITEMS))
    assert queue.empty()


def test_others_count_what_was_not_delivered(mp):
    queue = filled(mp)
    process, results, resume = stopped_reader(mp, queue, 20)
    assert queue.qsize() == ITEMS - 20
    assert not queue.empty()
    resume.set()
    results.get(timeout=30)
    assert queue.qsize() == ITEMS - 40
    process.join()


def test_own_count(mp):
    queue = filled(mp)
    for i in range(ITEMS):
        assert queue.qsize() == ITEMS - i
        assert not queue.empty()
        assert queue.get(timeout=30) == i
    assert queue.qsize() == 0 and queue.empty()


def round_trips_of_all(smp):
    queue = filled(smp)
    before = _core.counters()["round_trips"]
    for _ in range(ITEMS):
        queue.get(timeout=30)
    return _core.counters()["round_trips"] - before


def test_many_come_at_once(smp):
    """The best of three counts: a process that was not scheduled for 20 ms has given items back, and asks again."""
    assert min(round_trips_of_all(smp) for _ in range(3)) < ITEMS / 5


def test_a_killed_reader_takes_nothing_along(smp):
    queue = filled(smp)
    process, _, _ = stopped_reader(smp, queue, 20)
    process.kill()
    process.join()
    assert [queue.get(timeout=30) for _ in range(ITEMS - 20)] == list(range(20, ITEMS))


def take_and_die(queue, count, path):
    for _ in range(count):
        item = queue.get()
        with open(path, "a") as file:
            file.write(f"{item}\n")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("count", [1, 2, 20, 65, 66])
def test_what_a_killed_reader_has_got_does_not_come_again(smp, tmp_path, count):
    queue = filled(smp)
    process = smp.Process(target=take_and_die, args=(queue, count, tmp_path / "got"))
    process.start()
    process.join()
    assert (tmp_path / "got").read_text().split() == [str(i) for i in range(count)]
    assert queue.qsize() == ITEMS - count
    assert [queue.get(timeout=30) for _ in range(ITEMS - count)] == list(range(count, ITEMS))


def test_a_reader_that_ends_takes_nothing_along(mp):
    queue = filled(mp)
    process, results, resume = stopped_reader(mp, queue, 20)
    resume.set()
    assert results.get(timeout=30) == list(range(20, 40))
    process.join()
    assert [queue.get(timeout=30) for _ in range(ITEMS - 40)] == list(range(40, ITEMS))


def test_the_programs_reader_hands_over(mp):
    queue = filled(mp)
    assert [queue.get(timeout=30) for _ in range(50)] == list(range(50))
    results, resume = mp.Queue(), mp.Event()
    process = mp.Process(target=take, args=(queue, 30, results, resume))
    process.start()
    assert results.get(timeout=30) == list(range(50, 80))
    assert queue.get(timeout=30) == 80
    resume.set()
    assert results.get(timeout=30) == list(range(81, 111))
    process.join()


def test_a_descriptor_reports_items_read_ahead(mp):
    queue = filled(mp)
    for i in range(ITEMS):
        if i % 50 == 20:
            assert multiprocessing.connection.wait([queue._reader], timeout=30) == [queue._reader]
        assert queue.get(timeout=30) == i
    assert queue._reader.poll() is False


def test_poll_before_each(mp):
    reader, writer = mp.Pipe(duplex=False)
    process = mp.Process(target=send_all, args=(writer,))
    process.start()
    writer.close()
    got = []
    with pytest.raises(EOFError):
        while reader.poll(30):
            got.append(reader.recv())
    assert got == list(range(ITEMS))
    process.join()


def send_all(writer):
    for i in range(ITEMS):
        writer.send(i)


def test_a_child_of_fork_has_no_items_read_ahead(smp):
    queue = filled(smp)
    assert [queue.get(timeout=30) for _ in range(50)] == list(range(50))
    read, write = os.pipe()
    ended = fork(lambda: os.write(write, repr([queue.get(timeout=30) for _ in range(30)]).encode()))
    os.close(write)
    with open(read) as told:
        assert told.read() == repr(list(range(50, 80)))
    ended()
    assert [queue.get(timeout=30) for _ in range(ITEMS - 80)] == list(range(80, ITEMS))


def test_large_items(mp):
    queue = mp.Queue()
    sizes = [1 << shift for shift in range(8, 22)] * 3
    for n, size in enumerate(sizes):
        queue.put((n, b"x" * size))
    for n, size in enumerate(sizes):
        assert queue.get(timeout=30) == (n, b"x" * size)


def test_threads_share_a_reader(mp):
    queue, got, lock = filled(mp), [], threading.Lock()

    def read():
        for _ in range(ITEMS // 3):
            item = queue.get(timeout=30)
            with lock:
                got.append(item)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(ITEMS))


def test_one_thread_takes_from_both_ends(mp):
    one, other = mp.Pipe()
    for i in range(100):
        one.send(("to other", i))
        other.send(("to one", i))
    for i in range(100):
        assert other.recv() == ("to other", i)
        assert one.recv() == ("to one", i)
        if i % 20 == 0:
            one.send(("to other", 100 + i // 20))
            assert one.poll(0) is (i < 99)
    assert [other.recv() for _ in range(5)] == [("to other", 100 + i) for i in range(5)]
    assert not one.poll(0) and not other.poll(0)


def test_two_connections_to_one_end(mp):
    reader, writer = mp.Pipe(duplex=False)
    again = pickle.loads(reduction.ForkingPickler.dumps(reader))
    for i in range(ITEMS):
        writer.send(i)
    assert [(reader, again)[i % 3 == 0].recv() for i in range(ITEMS)] == list(range(ITEMS))


def test_a_descriptor_is_asked_for_while_another_thread_reads(mp):
    for _ in range(5):
        queue, got = filled(mp), []

        def read(queue=queue, got=got):
            got.extend(queue.get(timeout=30) for _ in range(ITEMS))

        thread = threading.Thread(target=read)
        thread.start()
        while thread.is_alive():
            multiprocessing.connection.wait([queue._reader], timeout=0.001)
        assert got == list(range(ITEMS))


def take_and_stop(queue, results):
    results.put([queue.get() for _ in range(5)])
    os.kill(os.getpid(), signal.SIGSTOP)


def test_a_get_beside_a_stopped_reader_ends_in_time(smp):
    queue, results = filled(smp), smp.SimpleQueue()
    process = smp.Process(target=take_and_stop, args=(queue, results))
    process.start()
    assert results.get() == list(range(5))
    # Items that a stopped process has read ahead stay with it, unless it has returned them before.
    try:
        assert queue.get(timeout=1) == 5
    except exceptions.Empty:
        os.kill(process.pid, signal.SIGCONT)
        assert queue.get(timeout=30) == 5
    process.kill()

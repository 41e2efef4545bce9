"""Locks that one process takes again and again: they stay with it until another process wants them."""

import os
import signal
import threading
import time

import pytest

from contexts import rounds
from forks import fork

MANY = 500


def count(value, times=MANY):
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def count_and_stay(value, connection):
    count(value)
    connection.send("counted")
    connection.recv()


def started(mp, target, *args):
    process = mp.Process(target=target, args=args)
    process.start()
    return process


@pytest.mark.skipif(os.environ.get("SERVERLESS_MP_SEAL_MEMORY") == "1", reason="no lock is lent beside sealed memory")
def test_one_process_costs_the_store_nothing(smp):
    from serverless_mp import _core

    value = smp.Value("q", 0)
    process = started(smp, count, value)
    process.join()
    count(value)
    before = _core.counters()["commands"]
    count(value, 10_000)
    # What was written is published every few milliseconds.
    assert _core.counters()["commands"] - before < 2_000
    assert value.value == 2 * MANY + 10_000


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_several_kinds(mp, kind):
    lock, value = getattr(mp, kind)(), mp.RawValue("q", 0)
    processes = [started(mp, count_under, lock, value) for _ in range(2)]
    count_under(lock, value)
    for process in processes:
        process.join()
    with lock:
        assert value.value == 3 * MANY


def count_under(lock, value):
    for _ in range(MANY):
        with lock:
            value.value += 1


def test_it_comes_back_when_another_process_wants_it(mp):
    value, (here, there) = mp.Value("q", 0), mp.Pipe()
    process = started(mp, count_and_stay, value, there)
    assert here.recv() == "counted"
    for n in range(20):
        with value.get_lock():
            assert value.value == MANY + n
            value.value += 1
    here.send("end")
    process.join()


def take_often_and_do(lock, connection):
    command = None
    while command != "end":
        pass_through(lock)
        connection.send("free")
        command = connection.recv()
        if command == "hold":
            lock.acquire()
            connection.send("held")
            connection.recv()
            lock.release()


def test_without_waiting(mp):
    lock, (here, there) = mp.Lock(), mp.Pipe()
    process = started(mp, take_often_and_do, lock, there)
    for _ in range(10):
        assert here.recv() == "free"
        assert lock.acquire(block=False)
        lock.release()
        here.send("hold")
        assert here.recv() == "held"
        assert not lock.acquire(block=False)
        assert not lock.acquire(timeout=0.01)
        here.send("release")
        assert here.recv() == "free"
        assert lock.acquire(timeout=0)
        lock.release()
        here.send("pass")
    here.send("end")
    process.join()
    assert process.exitcode == 0


def test_its_value(smp):
    lock, (here, there) = smp.Lock(), smp.Pipe()
    process = started(smp, take_often_and_do, lock, there)
    for _ in range(5):
        assert here.recv() == "free"
        assert lock._semlock._get_value() == 1
        here.send("hold")
        assert here.recv() == "held"
        assert lock._semlock._is_zero()
        here.send("release")
    assert here.recv() == "free"
    here.send("end")
    process.join()


def hold_in_silence(lock, path):
    for _ in range(50):
        with lock:
            pass
    lock.acquire()
    with open(path, "w"):
        pass
    time.sleep(60)


def test_a_lock_that_its_holder_took_along_stays_taken(mp, tmp_path):
    lock, path = mp.Lock(), tmp_path / "held"
    process = started(mp, hold_in_silence, lock, path)
    while not path.exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.kill()
    process.join()
    assert not lock.acquire(timeout=0.5)


def test_a_lock_that_was_held_when_others_could_know_it_stays_taken(mp):
    for _ in range(3):
        lock, (here, there) = mp.Lock(), mp.Pipe()
        process = started(mp, take_often_and_do, lock, there)
        assert here.recv() == "free"
        here.send("hold")
        assert here.recv() == "held"
        process.kill()
        process.join()
        assert not lock.acquire(timeout=0.2)


def test_a_lock_that_was_free_when_its_process_died_is_free(mp):
    value, (here, there) = mp.Value("q", 0), mp.Pipe()
    process = started(mp, count_and_stay, value, there)
    assert here.recv() == "counted"
    process.kill()
    process.join()
    assert value.get_lock().acquire(timeout=30)
    assert value.value == MANY


def count_and_leave(value, times):
    count(value, times)
    os._exit(0)


@pytest.mark.parametrize("times", [10, 1000])
def test_a_sudden_end_loses_nothing(mp, times):
    value = mp.Value("q", 0)
    started(mp, count_and_leave, value, times).join()
    assert value.value == times
    assert value.get_lock().acquire(timeout=30)


def take_something_and_die(lock, queue, semaphore, what):
    pass_through(lock)
    lock.acquire()
    if what == "item":
        queue.get()
    else:
        semaphore.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("what", ["item", "unit"])
def test_who_has_taken_something_under_it_has_shown_that_it_was_held(mp, what):
    lock, queue, semaphore = mp.Lock(), mp.SimpleQueue(), mp.Semaphore(1)
    queue.put(1)
    started(mp, take_something_and_die, lock, queue, semaphore, what).join()
    assert not lock.acquire(timeout=0.2)
    assert queue.empty() == (what == "item")
    assert semaphore.acquire(block=False) == (what == "item")


def look_often(lock, connection):
    pass_through(lock)
    while not connection.poll():
        repr(lock)


def test_who_looks_at_its_value_does_not_take_it(mp):
    lock, (here, there) = mp.Lock(), mp.Pipe()
    processes = [started(mp, look_often, lock, there) for _ in range(2)]
    pass_through(lock)
    for _ in range(50):
        repr(lock)
        assert lock.acquire(timeout=10)
        time.sleep(0.001)
        lock.release()
    here.send(None)
    for process in processes:
        process.join()
        assert process.exitcode == 0


def write_and_wait(lock, arrays, path):
    for _ in range(100):
        with lock:
            for array in arrays:
                array[0] += 1
    with lock:
        for array in arrays:
            array[:] = [7] * len(array)
    path.touch()
    signal.pause()


@pytest.mark.parametrize(("count", "length"), [(12, 1), (3, 3000), (1, 1 << 21)])
def test_a_killed_process_leaves_whole_sections_and_a_free_lock(mp, tmp_path, count, length):
    """The process is in no section when it is killed, some milliseconds after the last one, which may be lost here."""
    for n in range(rounds(mp, 10)):
        lock, path = mp.Lock(), tmp_path / str(n)
        arrays = [mp.RawArray("i", length) for _ in range(count)]
        process = started(mp, write_and_wait, lock, arrays, path)
        while not path.exists():
            pass
        time.sleep(n / 1000)
        process.kill()
        process.join()
        assert lock.acquire(timeout=30)
        last = {array[length - 1] for array in arrays}
        assert len(last) == 1
        if last == {7}:
            assert all(array[i] == 7 for array in arrays for i in range(0, length, 1000))


def refuse_and_die(lock, connection):
    connection.send("asks")
    lock.acquire(block=False)
    connection.send("refused")
    connection.recv()


def stop_in_a_section(lock, connection):
    pass_through(lock)
    with lock:
        connection.send(os.getpid())
        os.kill(os.getpid(), signal.SIGSTOP)
    connection.recv()


def test_who_is_refused_and_dies_gives_nothing_back(smp):
    lock, (here, there), (mine, theirs) = smp.Lock(), smp.Pipe(), smp.Pipe()
    holder = started(smp, stop_in_a_section, lock, there)
    pid = here.recv()
    asking = started(smp, refuse_and_die, lock, theirs)
    assert mine.recv() == "asks"
    # It may be killed before it asks, while it waits for the answer, or afterwards.
    time.sleep(0.1)
    asking.kill()
    asking.join()
    assert not lock.acquire(timeout=0.2)
    os.kill(pid, signal.SIGCONT)
    assert lock.acquire(timeout=30)
    lock.release()
    here.send(None)
    holder.join()


def take_when_told(lock, connection):
    while connection.recv():
        with lock:
            connection.send("has it")
            connection.recv()
        connection.send("gave it back")


def test_forks_while_something_is_published(mp):
    """A large array is written under the lock; then another process wants the lock, and the program forks."""
    lock, array, (here, there) = mp.Lock(), mp.RawArray("b", 8 << 20), mp.Pipe()
    process = started(mp, take_when_told, lock, there)
    view = memoryview(array).cast("B")
    for n in range(8):
        for _ in range(60):
            with lock:
                view[:: 1 << 16] = bytes([n + 1]) * len(view[:: 1 << 16])
        time.sleep(0.002 * (n % 4))
        here.send(True)
        fork(lambda: None)()
        assert here.recv() == "has it"
        assert not lock.acquire(block=False)
        here.send(None)
        assert here.recv() == "gave it back"
    here.send(False)
    process.join()


def test_what_was_published_survives_a_sudden_end(mp):
    value = mp.Value("q", 0)
    process = started(mp, count_then_sleep_and_leave, value)
    process.join()
    assert value.value == MANY + 1


def count_then_sleep_and_leave(value):
    count(value)
    time.sleep(0.3)
    count(value, 1)
    os._exit(0)


def release_when_asked(lock, connection):
    while connection.recv():
        lock.release()


def test_another_process_releases_it(mp):
    lock, (here, there) = mp.Lock(), mp.Pipe()
    process = started(mp, release_when_asked, lock, there)
    for _ in range(50):
        with lock:
            pass
    for _ in range(60):
        assert lock.acquire(timeout=30)
        here.send(True)
        assert lock.acquire(timeout=30)
        lock.release()
    here.send(False)
    process.join()
    assert process.exitcode == 0


def test_threads_and_processes(mp):
    value = mp.Value("q", 0)
    processes = [started(mp, count, value) for _ in range(2)]
    threads = [threading.Thread(target=count, args=(value,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for one in [*threads, *processes]:
        one.join()
    assert value.value == 6 * MANY


def wait_for_turns(condition, value, connection):
    with condition:
        connection.send("waits")
        condition.wait_for(lambda: value.value == 1, 30)
        value.value = 2
        condition.notify()


def test_a_condition_of_a_lock_that_was_taken_often(mp):
    lock, value = mp.Lock(), mp.RawValue("i", 0)
    started(mp, pass_through, lock).join()
    pass_through(lock)
    condition, (here, there) = mp.Condition(lock), mp.Pipe()
    process = started(mp, wait_for_turns, condition, value, there)
    assert here.recv() == "waits"
    with condition:
        value.value = 1
        condition.notify()
        assert condition.wait_for(lambda: value.value == 2, 30)
    process.join()


def pass_through(lock):
    for _ in range(100):
        with lock:
            pass


def test_a_forked_child_and_its_parent(mp, tmp_path):
    lock, file = mp.Lock(), tmp_path / "number"
    file.write_text("0")
    started(mp, pass_through, lock).join()

    def add():
        for _ in range(200):
            with lock:
                file.write_text(str(int(file.read_text()) + 1))

    add()
    ended = fork(add)
    add()
    ended()
    assert file.read_text() == "600"


def write_under_a_lock(lock, flag, connection):
    for _ in range(100):
        with lock:
            flag.value = 1
    time.sleep(0.1)
    with lock:
        flag.value = 2
    signal.pause()


def test_a_reader_without_the_lock_sees_it_soon(mp):
    lock, flag, (_, there) = mp.Lock(), mp.RawValue("i", 0), mp.Pipe()
    process = started(mp, write_under_a_lock, lock, flag, there)
    end = time.monotonic() + 30
    while flag.value != 2:
        assert time.monotonic() < end
    process.kill()
    process.join()


def test_a_lock_that_is_dropped_while_it_is_lent(mp):
    lock, (here, there) = mp.Lock(), mp.Pipe()
    process = started(mp, drop_it, there)
    here.send(None)
    process.join()
    process = started(mp, take_often_and_drop, lock, there)
    assert here.recv() == "dropped"
    assert lock.acquire(timeout=30)
    process.kill()
    process.join()


def drop_it(connection):
    connection.recv()


def take_often_and_drop(lock, connection):
    pass_through(lock)
    del lock
    connection.send("dropped")
    signal.pause()


def hold_and_give_back_later(lock, connection):
    lock.acquire()
    connection.send("taken")
    connection.recv()
    lock.release()
    connection.send("given back")


def use_and_hold(lock, connection):
    for _ in range(MANY):
        with lock:
            pass
    lock.acquire()
    connection.send("held")
    connection.recv()
    lock.release()
    connection.send("released")


def test_another_process_gives_back_what_is_held(mp):
    """A lock belongs to nobody: two processes give it back for one another, while it stays with a third."""
    lock = mp.Lock()
    (here, there), (near, far) = mp.Pipe(), mp.Pipe()
    first = started(mp, hold_and_give_back_later, lock, there)
    assert here.recv() == "taken"
    lock.release()
    second = started(mp, use_and_hold, lock, far)
    assert near.recv() == "held"
    assert not lock.acquire(False)
    here.send("give it back")
    assert here.recv() == "given back"
    assert lock.acquire(timeout=30)
    near.send("release")
    assert near.recv() == "released"
    assert lock.acquire(timeout=30)
    first.join()
    second.join()


def add_up(array, text):
    for i in range(len(array)):
        array[i] += i
    text.value = b"changed"


def test_the_end_of_a_process_while_its_writes_are_published(mp):
    """The process may end while the thread that publishes has the lock."""
    for _ in range(rounds(mp, 40)):
        array, text = mp.Array("i", range(10)), mp.Array("c", b"original")
        process = started(mp, add_up, array, text)
        process.join()
        assert array.get_lock().acquire(timeout=30)
        array.get_lock().release()
        assert (array[:], text.value) == ([2 * i for i in range(10)], b"changed")

"""Locks, semaphores, conditions, events, barriers."""

import pickle
import threading
from queue import Empty

import pytest


def hold(lock, connection):
    with lock:
        connection.send("held")
        connection.recv()


def test_lock_excludes_another_process(mp):
    lock = mp.Lock()
    here, there = mp.Pipe()
    process = mp.Process(target=hold, args=(lock, there))
    process.start()
    assert here.recv() == "held"
    assert lock.acquire(False) is False
    assert lock.acquire(timeout=0.05) is False
    here.send("go")
    assert lock.acquire(timeout=30) is True
    lock.release()
    process.join()


def take_along(lock, connection, how):
    if how == "often":
        for _ in range(100):
            with lock:
                pass
    lock.acquire()
    connection.send("held")
    if how != "ends":
        connection.recv()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "BoundedSemaphore"])
@pytest.mark.parametrize("how", ["once", "often", "ends"])
def test_robust_locks(smp, monkeypatch, kind, how):
    """The holder dies while the lock has a waiter, or none."""
    monkeypatch.setenv("SERVERLESS_MP_ROBUST_LOCKS", "1")
    lock, (here, there) = getattr(smp, kind)(), smp.Pipe()
    for is_awaited in (False, True):
        process = smp.Process(target=take_along, args=(lock, there, how))
        process.start()
        assert here.recv() == "held"
        waiter = threading.Thread(target=lock.acquire)
        if is_awaited:
            waiter.start()
        if how != "ends":
            process.kill()
        process.join()
        if is_awaited:
            waiter.join(30)
            assert not waiter.is_alive()
        else:
            assert lock.acquire(timeout=30)
            lock.release()


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
@pytest.mark.parametrize(
    ("value", "error"), [(-1, OSError), (2**31, OverflowError), (-(2**40), OverflowError), (2**70, OverflowError)]
)
def test_values_that_no_semaphore_has(mp, kind, value, error):
    with pytest.raises(error):
        getattr(mp, kind)(value)


def test_lock_released_too_often(mp):
    with pytest.raises(ValueError, match="released too many times"):
        mp.Lock().release()


def taken_here_and_released_elsewhere(mp):
    lock = mp.Lock()
    lock.acquire()
    process = mp.Process(target=lock_release, args=(lock,))
    process.start()
    process.join()
    assert process.exitcode == 0
    return lock


def test_lock_released_by_another_process(mp):
    assert taken_here_and_released_elsewhere(mp).acquire(timeout=10)


def test_lock_released_once_too_often_by_its_last_holder(mp):
    lock = taken_here_and_released_elsewhere(mp)
    lock.acquire()
    lock.release()
    for _ in range(2):
        with pytest.raises(ValueError, match="released too many times"):
            lock.release()
    assert lock.acquire(timeout=30) and not lock.acquire(timeout=0.01)


def lock_release(lock):
    lock.release()


def test_rlock(mp):
    lock = mp.RLock()
    assert lock.acquire() and lock.acquire()
    lock.release()
    raised = []

    def release():
        try:
            lock.release()
        except AssertionError as e:
            raised.append(e)

    thread = threading.Thread(target=release)
    thread.start()
    thread.join()
    assert raised, "only the owner may release it"
    lock.release()
    with pytest.raises(AssertionError):
        lock.release()


def test_semaphores_count(mp):
    semaphore = mp.Semaphore(2)
    assert semaphore.acquire() and semaphore.acquire()
    assert not semaphore.acquire(False)
    for _ in range(3):
        semaphore.release()
    assert semaphore.get_value() == 3
    bounded = mp.BoundedSemaphore(1)
    with pytest.raises(ValueError):
        bounded.release()
    with pytest.raises(OSError, match="22"):
        mp.Semaphore(-1)


def test_pickling_outside_a_launch_is_refused(mp):
    for thing in (mp.Lock(), mp.Event(), mp.Condition(), mp.Queue(), mp.Semaphore(), mp.SimpleQueue()):
        with pytest.raises(RuntimeError):
            pickle.dumps(thing)


def wait_for_turn(condition, turn, mine, log):
    with condition:
        condition.wait_for(lambda: turn.value == mine, timeout=30)
        log.put(mine)
        turn.value += 1
        condition.notify_all()


def test_condition_hands_the_turn_round(mp):
    condition, turn, log = mp.Condition(), mp.Value("i", 0), mp.SimpleQueue()
    processes = [mp.Process(target=wait_for_turn, args=(condition, turn, i, log)) for i in (2, 1, 0)]
    for process in processes:
        process.start()
    assert [log.get() for _ in processes] == [0, 1, 2]
    for process in processes:
        process.join()


def test_condition_times_out_and_keeps_the_lock(mp):
    condition = mp.Condition()
    with condition:
        with condition:
            assert condition.wait(0.05) is False
            assert condition._lock._semlock._count() == 2
    with pytest.raises(AssertionError):
        condition.wait()
    with pytest.raises(AssertionError):
        condition.notify()


def test_event(mp):
    event = mp.Event()
    assert not event.is_set()
    assert event.wait(0.05) is False
    here, there = mp.Pipe()
    process = mp.Process(target=report_event, args=(event, there))
    process.start()
    assert here.recv() == "waiting"
    event.set()
    assert here.recv() is True
    process.join()
    event.clear()
    assert not event.is_set()


def report_event(event, connection):
    connection.send("waiting")
    connection.send(event.wait(30))


def pass_barrier(barrier, rounds, results):
    for _ in range(rounds):
        results.put(barrier.wait(30))


def test_barrier(mp):
    barrier, results = mp.Barrier(3), mp.Queue()
    processes = [mp.Process(target=pass_barrier, args=(barrier, 5, results)) for _ in range(3)]
    for process in processes:
        process.start()
    indices = [results.get(timeout=30) for _ in range(15)]
    for process in processes:
        process.join()
    assert sorted(indices) == sorted([0, 1, 2] * 5)


def test_barrier_breaks(mp):
    barrier = mp.Barrier(2)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.05)
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken and barrier.n_waiting == 0
    barrier.abort()
    assert barrier.broken


def failing_action():
    raise KeyError("action")


def test_barrier_action(mp):
    barrier = mp.Barrier(1, action=failing_action)
    with pytest.raises(KeyError):
        barrier.wait()
    assert barrier.broken


def test_many_threads_share_a_lock(mp):
    lock, counter = mp.Lock(), [0]

    def count():
        for _ in range(100):
            with lock:
                counter[0] += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter == [400]


def test_flags_may_be_numbers(mp):
    for one in (mp.Lock(), mp.Semaphore(), mp.BoundedSemaphore()):
        assert one.acquire(1) is True
        assert one.acquire(0) is False
        assert one.acquire(block=0) is False
        one.release()
    for one in (mp.RLock(), mp.Condition()):
        assert (one.acquire(1), one.acquire(0)) == (True, True)
    queue, bounded, tasks = mp.Queue(), mp.Queue(2), mp.JoinableQueue()
    for one in (queue, bounded, tasks):
        one.put("item", 1)
        one.put("other", 1, 5)
        assert (one.get(1), one.get(1, 5)) == ("item", "other")
    with pytest.raises(Empty):
        queue.get(0)

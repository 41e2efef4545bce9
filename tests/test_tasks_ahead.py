"""A worker may take several short tasks at once, which no program can see."""

import collections
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from contexts import is_ours
from serverless_mp import _core
from serverless_mp.program.self_contained import is_self_contained

SHORT, ALL = 300, 400


def note(path, word):
    """Appends a line in one write."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{word}\n".encode())
    os.close(file)


def noted(path):
    return collections.Counter(int(word) for word in Path(path).read_text().split())


def set_event(value):
    global event
    event = value


def run(task):
    """Notes the task. The task `SHORT` waits for the event, or kills its worker: always, or with a mark for the first time."""
    i, path, what = task
    note(path, i)
    if i == SHORT:
        if what == "wait":
            event.wait()
        elif what == "die" or not os.path.exists(what):
            what == "die" or note(what, i)
            os.kill(os.getpid(), signal.SIGKILL)
    return i


def square(x):
    return x * x


def round_trips():
    return _core.counters()["round_trips"]


def rest(x):
    time.sleep(0.0002 if x % 100 else 0.1)
    return x


def kill(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_short_tasks_that_cannot_wait_are_taken_together(smp):
    with smp.Pool(1) as pool:
        assert pool.map(square, range(500), chunksize=1) == [x * x for x in range(500)]
        assert pool.apply(round_trips) < 250


def test_tasks_taken_together_survive_their_workers(mp):
    with mp.Pool(3) as pool:
        results = pool.imap(rest, range(1000))
        got = [next(results) for _ in range(150)]
        # CPython's pool would lose the task in work.
        if is_ours(mp):
            kill([worker.pid for worker in pool._pool[:2]])
        assert got + list(results) == list(range(1000))


def crash_at_short(i):
    """Overflows the stack of C at one item."""
    if i == SHORT:
        iterator = iter(())
        for _ in range(1_000_000):
            iterator = map(bool, iterator)
        next(iterator)
    return i


@pytest.mark.parametrize("processes", [1, 3])
def test_of_tasks_taken_together_only_the_one_that_kills_fails(smp, processes):
    with smp.Pool(processes) as pool:
        results, failed = pool.imap(crash_at_short, range(ALL)), []
        for i in range(ALL):
            try:
                assert next(results) == i
            except multiprocessing.ProcessError as e:
                failed.append((i, str(e)))
        assert [i for i, _ in failed] == [SHORT]
        assert "exit code -11" in failed[0][1]
        # The workers go on as before.
        assert pool.map(square, range(ALL), chunksize=1) == [x * x for x in range(ALL)]


def tell(i):
    print(f"task {i}.", flush=True)
    return i


def test_a_task_that_tells_what_it_does_is_not_repeated_for_another_one(smp, capfd):
    with smp.Pool(1) as pool:
        results = pool.imap(tell, range(ALL))
        got = [next(results) for _ in range(SHORT)]
        kill([pool._pool[0].pid])
        assert got + list(results) == list(range(ALL))
    told = collections.Counter(capfd.readouterr().out.split("\n"))
    assert sum(told[f"task {i}."] - 1 for i in range(ALL)) <= 1


def has_attribute(i):
    return has_attribute.kept


def reaches_a_module(i):
    return json.codecs.open


def is_decorated(i):
    return i


has_attribute.kept = []
is_decorated.kept = "plain"


@pytest.mark.parametrize(
    ("function", "can_see"), [(square, False), (is_decorated, False), (has_attribute, True), (reaches_a_module, True)]
)
def test_what_a_function_reaches(function, can_see):
    assert is_self_contained(function) is not can_see


def take_part(i):
    """An even task waits for the odd one behind it."""
    events[i // 2].set() if i % 2 else events[i // 2].wait()
    return i


events = None


def set_events(values):
    global events
    events = values


@pytest.mark.parametrize("first", [square, abs, None])
def test_many_tasks_wait_for_those_behind_them(mp, first):
    with mp.Pool(2, set_events, ([mp.Event() for _ in range(40)],)) as pool:
        before = pool.map_async(first, range(300), chunksize=1) if first else None
        assert pool.map_async(take_part, range(80), chunksize=1).get(timeout=60) == list(range(80))
        if before:
            assert len(before.get(timeout=60)) == 300


def test_a_long_task_holds_up_no_other(mp, tmp_path):
    release = mp.Event()
    with mp.Pool(2, set_event, (release,)) as pool:
        results = pool.imap_unordered(run, [(i, tmp_path / "ran", "wait") for i in range(ALL)])
        others = {next(results) for _ in range(ALL - 1)}
        assert others == set(range(ALL)) - {SHORT}
        release.set()
        assert next(results) == SHORT
    assert set(noted(tmp_path / "ran").values()) == {1}


def test_a_task_may_wait_for_the_one_behind_it(mp):
    done = mp.Event()
    with mp.Pool(2, set_event, (done,)) as pool:
        pool.map(abs, range(200), chunksize=1)
        for _ in range(10):
            waits = [pool.apply_async(event_is_set, (True,)), pool.apply_async(event_is_set, (False,))]
            assert [one.get(timeout=30) for one in waits] == [True, True]
            done.clear()


def test_a_task_may_wait_for_what_follows_from_results_before_it(mp):
    release = mp.Event()
    with mp.Pool(1, set_event, (release,)) as pool:
        pool.map(abs, range(200), chunksize=1)
        for n in range(12):
            quick = [pool.apply_async(abs, (i,)) for i in range(n)]
            waiting = pool.apply_async(event_is_set, (True,))
            assert [one.get(timeout=30) for one in quick] == list(range(n))
            release.set()
            assert waiting.get(timeout=30)
            release.clear()


def event_is_set(waits):
    event.wait() if waits else event.set()
    return event.is_set()


@pytest.mark.parametrize("dies_always", [False, True])
def test_a_worker_that_dies_repeats_only_the_task_in_work(smp, tmp_path, dies_always):
    what = "die" if dies_always else tmp_path / "mark"
    with smp.Pool(2) as pool:
        tasks = [(i, tmp_path / "ran", what) for i in range(ALL)]
        results = pool.imap(run, tasks)
        got = [next(results) for _ in range(SHORT)]
        if dies_always:
            with pytest.raises(multiprocessing.ProcessError, match="exit code -9"):
                next(results)
        else:
            got.append(next(results))
        got += results
    assert got == [i for i in range(ALL) if i != SHORT or not dies_always]
    ran = noted(tmp_path / "ran")
    assert ran.pop(SHORT) == 2
    assert set(ran.values()) == {1} and len(ran) == ALL - 1


def test_a_low_maxtasksperchild_is_kept(mp):
    with mp.Pool(2, maxtasksperchild=7) as pool:
        tasks = collections.Counter(pool.map(pid_of, range(140), chunksize=1))
        assert max(tasks.values()) == 7


def pid_of(_):
    return os.getpid()


def interrupted(_frame, _number):
    raise RuntimeError("interrupted")


def set_up_interruptions():
    signal.signal(signal.SIGUSR1, interrupted)


def interrupt_late(i, size):
    """Has a signal arrive when the result is sent, which has this size, for every tenth task."""
    if i % 10 == 9:
        main = threading.main_thread().ident
        threading.Timer(0.001, signal.pthread_kill, (main, signal.SIGUSR1)).start()
        time.sleep(0.0009)
        return i, bytes(size)
    return i, b""


@pytest.mark.parametrize("size", [0, 300_000])
def test_handlers_that_raise_between_tasks(smp, size):
    with smp.Pool(2, set_up_interruptions, maxtasksperchild=50) as pool:
        results = [pool.apply_async(interrupt_late, (i, size)) for i in range(300)]
        failed = 0
        for i, result in enumerate(results):
            try:
                assert result.get(timeout=30)[0] == i
            except (RuntimeError, multiprocessing.pool.MaybeEncodingError, multiprocessing.ProcessError):
                failed += 1
        assert failed <= 2 * 30, "a signal stops one task, or the worker and with it the task once more"


def slow_or_fast(i):
    time.sleep(0.3 if i % 50 == 49 else 0)
    return i


def test_a_pool_is_closed_while_tasks_wait_for_their_turn(mp):
    pool = mp.Pool(2)
    results = pool.map_async(slow_or_fast, range(200), chunksize=1)
    pool.close()
    pool.join()
    assert results.get(timeout=0) == list(range(200))


def test_a_pool_is_terminated_while_tasks_wait_for_their_turn(mp):
    pool = mp.Pool(2)
    results = pool.imap_unordered(slow_or_fast, range(2000))
    for _ in range(120):
        next(results)
    ended = threading.Thread(target=pool.terminate)
    ended.start()
    ended.join(30)
    assert not ended.is_alive()
    pool.join()

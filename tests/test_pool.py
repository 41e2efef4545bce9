"""Pools."""

import multiprocessing
import os
import pickle
import queue
import re
import signal
import time
from multiprocessing.connection import wait

import pytest

import stores


def square(x):
    return x * x


def add(a, b):
    return a + b


def fail(x):
    raise KeyError(x)


def set_up(value):
    global prepared
    prepared = value


def get_prepared(_):
    return prepared


def pid_of(_):
    time.sleep(0.01)
    return os.getpid()


def test_the_methods(mp):
    results = []
    with mp.Pool(3) as pool:
        assert pool.map(square, range(20)) == [x * x for x in range(20)]
        assert pool.map(square, range(100), chunksize=1) == [x * x for x in range(100)]
        assert pool.starmap(add, [(1, 2), (3, 4)]) == [3, 7]
        assert pool.apply(add, (1,), {"b": 5}) == 6
        assert list(pool.imap(square, range(5))) == [0, 1, 4, 9, 16]
        assert sorted(pool.imap_unordered(square, range(5), chunksize=2)) == [0, 1, 4, 9, 16]
        pool.apply_async(square, (4,), callback=results.append).wait(30)
        result = pool.map_async(square, [1, 2])
        assert result.get(timeout=30) == [1, 4] and result.successful()
        with pytest.raises(KeyError) as raised:
            pool.map(fail, [1])
        assert "RemoteTraceback" in type(raised.value.__cause__).__name__
        with pytest.raises(multiprocessing.TimeoutError):
            pool.apply_async(time.sleep, (5,)).get(timeout=0.05)
        assert pool.map(square, []) == []
    assert results == [16]
    with pytest.raises(ValueError):
        pool.map(square, [1])


def test_initializer_runs_once_a_worker(mp):
    with mp.Pool(2, set_up, ("ready",)) as pool:
        assert set(pool.map(get_prepared, range(10))) == {"ready"}
        pool.close()
        pool.join()


def test_workers_are_replaced(mp):
    with mp.Pool(2, maxtasksperchild=2) as pool:
        assert len(set(pool.map(pid_of, range(12), chunksize=1))) >= 6


def test_imap_is_lazy(mp):
    def endless():
        i = 0
        while True:
            yield i
            i += 1

    with mp.Pool(2) as pool:
        results = pool.imap(square, iter(range(3)))
        assert [next(results) for _ in range(3)] == [0, 1, 4]


def die_the_first_time(path):
    if os.path.exists(path):
        return "second time"
    open(path, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
    return "not reached"


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_task_of_a_worker_that_died_is_begun_again(smp, tmp_path):
    with smp.Pool(2) as pool:
        assert pool.apply(die_the_first_time, (str(tmp_path / "mark"),)) == "second time"
        with pytest.raises(multiprocessing.ProcessError, match="exit code -9"):
            pool.apply_async(die, (1,)).get(timeout=60)
        assert pool.map(square, range(10)) == [x * x for x in range(10)]


def leave(_):
    raise SystemExit(3)


def test_a_task_that_leaves_the_process_fails(smp):
    with smp.Pool(1) as pool, pytest.raises(multiprocessing.ProcessError, match="exit code 3"):
        pool.apply_async(leave, (1,)).get(timeout=60)


def test_the_default_size_is_the_configured_one(smp, monkeypatch):
    monkeypatch.setenv("SERVERLESS_MP_WORKERS", "3")
    with smp.Pool() as pool:
        assert pool._processes == smp.cpu_count() == 3
    with pytest.raises(ValueError):
        smp.Pool(0)
    monkeypatch.setenv("SERVERLESS_MP_WORKERS", "many")
    with pytest.raises(ValueError, match="SERVERLESS_MP_WORKERS is 'many'; it must be a whole number"):
        smp.cpu_count()


def test_threads_need_no_store(run, tmp_path):
    """A pool of threads does not open a session."""
    program = tmp_path / "program.py"
    program.write_text(
        "from multiprocessing.pool import ThreadPool\n"
        "from serverless_mp import _core\n"
        "with ThreadPool(2) as pool:\n"
        "    print(pool.map(abs, [-1, 2]), _core.is_open())\n"
    )
    done = run(program)
    assert done.stdout == "[1, 2] False\n", done.stderr


def test_an_argument_that_cannot_be_pickled_is_named_in_the_caller_s_terms(smp):
    with smp.Pool(1) as pool:
        for call, name in (
            (lambda: pool.apply(abs, (lambda: 1,)), "argument 0 of the task"),
            (lambda: pool.apply(int, ("1",), {"base": lambda: 1}), "argument 'base' of the task"),
            (lambda: pool.apply(lambda: 1), "the function of the task"),
            (lambda: pool.map(abs, [1, lambda: 1], chunksize=2), "item 1 of the chunk"),
        ):
            with pytest.raises((AttributeError, TypeError, pickle.PicklingError)) as caught:
                call()
            assert any(f"serverless_mp: {name} cannot be pickled" in note for note in caught.value.__notes__)


def test_idle_workers_end_and_come_back_with_tasks(smp, monkeypatch):
    """Only as many workers are started again as there are tasks."""
    monkeypatch.setenv("SERVERLESS_MP_IDLE_TIMEOUT", "1")
    with smp.Pool(3) as pool:
        first = set(pool.map(pid_of, range(3), chunksize=1))
        for worker in list(pool._pool):
            wait([worker.sentinel], 60)
        assert pool.apply(pid_of, (0,)) not in first
        assert len(pool._pool) == 1
        assert pool.map(abs, range(-50, 0), chunksize=1) == list(range(50, 0, -1))
        pool.close()
        pool.join()


FEW_DESCRIPTORS = """
import multiprocessing, resource
if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
    multiprocessing.Pool(1000)
"""

MANY_WORKERS = """
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.Pool(4) as pool:
        print(pool.map(abs, [-1, -2]))
    multiprocessing.Pool(100)
"""


def test_more_processes_than_descriptors_are_refused(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(FEW_DESCRIPTORS)
    done = run(program)
    assert re.search(r"OSError: .* 1000 processes need about 30\d\d file descriptors .* its limit is 400", done.stderr)


LOW_SOFT_LIMIT = """
import multiprocessing, resource
if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with multiprocessing.Pool(60) as pool:
        print(sum(pool.map(abs, range(-60, 0), chunksize=1)))
"""


def test_a_soft_limit_of_descriptors_is_raised(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(LOW_SOFT_LIMIT)
    done = run(program)
    assert (done.stdout, done.stderr) == ("1830\n", "")


def test_more_processes_than_connections_are_refused(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(MANY_WORKERS)
    with stores.server(tmp_path / "server", "--maxclients", "60") as port:
        done = run(program, env={"SERVERLESS_MP_REDIS_URL": f"redis://:{stores.QUOTED}@127.0.0.1:{port}"})
    assert done.stdout == "[1, 2]\n"
    assert re.search(
        r"100 processes need about 2\d\d connections to the store, and it takes 60: raise its maxclients", done.stderr
    )


ONE_BY_ONE = """
import multiprocessing as mp
def take(queue):
    queue.get()
if __name__ == "__main__":
    queue = mp.Queue()
    processes = [mp.Process(target=take, args=(queue,)) for _ in range(4)]
    for process in processes: process.start()
    for process in processes: process.join()
"""


def test_a_store_without_room_for_connections_is_named(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(ONE_BY_ONE)
    with stores.server(tmp_path / "server", "--maxclients", "3") as port:
        url = f"redis://:{stores.QUOTED}@127.0.0.1:{port}"
        done = run(program, env={"SERVERLESS_MP_REDIS_URL": url, "SERVERLESS_MP_LEASE": "3"})
    assert "max number of clients reached: raise its maxclients, or have fewer processes" in done.stderr


def give_up_a_place(event):
    global place
    place = event


def set_if_first(item):
    if item == 0:
        place.set()
    return item


class PicklesLate:
    """An item whose pickling waits until the task before it has run."""

    def __init__(self, event, item):
        self.event, self.item = event, item

    def __reduce__(self):
        return int, (self.item if self.event.wait(30) else -1,)


def test_the_pickling_of_a_task_may_wait_for_the_task_before_it(mp):
    event = mp.Event()
    with mp.Pool(1, give_up_a_place, (event,)) as pool:
        assert pool.map(set_if_first, [0, PicklesLate(event, 5), 6], chunksize=1) == [0, 5, 6]


def test_an_iterable_may_wait_for_results(mp):
    seen = queue.Queue()

    def items():
        yield 0
        for i in range(1, 5):
            assert seen.get(timeout=30) == (i - 1) ** 2
            yield i

    with mp.Pool(2) as pool:
        for i, result in enumerate(pool.imap(square, items())):
            assert result == i * i
            seen.put(result)


def test_a_map_that_fails_changes_nothing_for_the_next(mp):
    with mp.Pool(1) as closed:
        closed.close()
        with pytest.raises(ValueError):
            closed.map(abs, [1, 2])
    results = queue.Queue()

    def items():
        yield from (1, 2)
        yield results.get(timeout=30)

    with mp.Pool(1) as pool:
        iterator = pool.imap(square, items(), 2)
        results.put(next(iterator))
        assert list(iterator) == [4, 1]


@pytest.mark.parametrize("limit", [1, 3])
def test_many_small_tasks_with_a_low_maxtasksperchild(mp, limit):
    with mp.Pool(3, maxtasksperchild=limit) as pool:
        assert pool.map(abs, range(-30, 0), chunksize=1) == list(range(30, 0, -1))

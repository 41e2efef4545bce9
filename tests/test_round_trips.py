"""The costs of each operation: commands sent, and times that a thread waited for the store. Both are exact."""

import threading
import time
from urllib.parse import unquote

import pytest

import stores
from places import STORE
from serverless_mp import _core


class Cost:
    """Counts the commands of this process during a block, including posted ones."""

    def __enter__(self):
        _core.settle()
        self.before = _core.counters()
        while self.before != (now := self.later()):  # work that our own threads have not finished is not counted
            self.before = now
        return self

    @staticmethod
    def later():
        time.sleep(0.02)
        return _core.counters()

    def __exit__(self, *_):
        after = _core.counters()
        self.round_trips = after["round_trips"] - self.before["round_trips"]
        self.commands = after["commands"] - self.before["commands"]


def cost(operation, *args, **kwargs):
    with Cost() as spent:
        operation(*args, **kwargs)
    return spent.round_trips, spent.commands


def nothing(*_):
    pass


def write(array):
    array[:] = range(len(array))


def share(mp, *objects):
    process = mp.Process(target=nothing, args=objects)
    process.start()
    process.join()


def cases(mp):
    """Yields (name, operation, round trips, commands) for operations on objects that were used before."""
    here, there = mp.Pipe()
    here.send(0)
    yield "Connection.poll", there.poll, 1, 1
    there.recv()

    lock, rlock, semaphore = mp.Lock(), mp.RLock(), mp.Semaphore(5)
    yield "Lock.acquire, never shared", lock.acquire, 0, 0
    yield "Lock.release, never shared", lock.release, 0, 0
    share(mp, lock, rlock, semaphore)
    yield "Lock.acquire", lock.acquire, 1, 1
    yield "Lock.release", lock.release, 0, 1
    rlock.acquire()
    yield "RLock.acquire again", rlock.acquire, 0, 0
    yield "RLock.release inner", rlock.release, 0, 0
    yield "RLock.release", rlock.release, 0, 1
    yield "Semaphore.acquire", semaphore.acquire, 1, 1
    yield "Semaphore.release", semaphore.release, 0, 1

    event = mp.Event()
    yield "Event.is_set", event.is_set, 1, 1
    yield "Event.set", event.set, 1, 1
    yield "Event.wait (set)", event.wait, 1, 1
    yield "Event.clear", event.clear, 1, 1

    condition = mp.Condition()
    with condition:
        yield "Condition.notify", condition.notify, 1, 1
    # The round trips of wait: release the lock and enqueue; sleep; dequeue after the time-out; acquire the lock.
    condition.acquire()
    yield "Condition.wait (times out; the sleep and leaving the line are 2 of 4)", lambda: condition.wait(0.1), 4, 4
    condition.release()

    barrier = mp.Barrier(1)
    yield "Barrier.wait (last party)", barrier.wait, 1, 1
    acting = mp.Barrier(1, action=nothing)
    yield "Barrier.wait (runs the action)", acting.wait, 2, 2

    queue, bounded, joinable = mp.Queue(), mp.Queue(10), mp.JoinableQueue()
    share(mp, queue, bounded, joinable)
    for q in (queue, bounded, joinable):
        q.put(0)
        q.get()
    yield "Queue.put", lambda: put_and_let_it_be_sent(queue), 0, 1
    yield "Queue.get", queue.get, 1, 2
    yield "Queue.put (bounded)", lambda: put_and_let_it_be_sent(bounded), 1, 2
    yield "Queue.get (bounded)", bounded.get, 1, 3
    yield "JoinableQueue.put", lambda: put_and_let_it_be_sent(joinable), 1, 2
    yield "JoinableQueue.get", joinable.get, 1, 2
    yield "JoinableQueue.task_done", joinable.task_done, 1, 1

    yield "Connection.send", lambda: here.send(1), 1, 1
    yield "Connection.recv", there.recv, 1, 2
    yield "Connection.send of 1 MiB", lambda: here.send_bytes(bytes(1 << 20)), 1, 3
    yield "Connection.recv of 1 MiB", there.recv_bytes, 2, 4
    value = mp.Value("i", 0)
    yield "Value write under its own lock, never shared", lambda: setattr(value, "value", 5), 0, 0
    share(mp, value)
    # What others have written is asked for, too.
    here.send(0)
    yield "Connection.poll, one shared region", there.poll, 1, 2
    there.recv()
    with condition:
        yield "Condition.wait (times out), one shared region", lambda: condition.wait(0.1), 5, 5
    written = mp.RawArray("i", 1000)
    share(mp, written)
    # In a cluster, the array is published before.
    expected = (2, 2) if STORE == "cluster" else (1, 1)
    yield "Connection.send with writes to shared memory", lambda: here.send(write(written)), *expected

    yield "Value read under its own lock", lambda: value.value, 1, 2
    yield "Value write under its own lock (dirty)", lambda: setattr(value, "value", 6), 1, 2


def put_and_let_it_be_sent(queue):
    queue.put(1)
    while queue._sem.unsent:
        time.sleep(0)


def test_operations_against_the_budget(smp):
    wrong = []
    for name, operation, round_trips, commands in cases(smp):
        got = cost(operation)
        print(f"{name:75} {got[0]} round trips, {got[1]} commands")
        # In a cluster, the thread waits for commands that were posted to one node before it uses another node.
        more = range(2 if STORE == "cluster" else 1)
        if got not in [(round_trips + n, commands) for n in more]:
            wrong.append((name, got, (round_trips, commands)))
    assert not wrong


def test_process(smp):
    smp.Process(target=nothing).run()
    process = smp.Process(target=nothing)
    process.start()
    process.join()
    process = smp.Process(target=nothing)
    # One round trip writes the record, one is the next wait of the thread that waits for events. In a cluster, the launch also
    # waits for the commands that were posted to each node.
    assert cost(process.start)[0] <= (2 if STORE != "cluster" else 4)
    process.join()
    for look in (process.is_alive, lambda: process.exitcode, process.join):
        assert cost(look)[0] == 0


def cost_of_manager_call(proxy):
    proxy["a"] = 1
    return cost(proxy.__getitem__, "a")


def test_manager_call(smp):
    with smp.Manager() as manager, smp.Pool(1) as pool:
        d = manager.dict()
        assert pool.apply(cost_of_manager_call, (d,)) == (2, 2)
        assert cost_of_manager_call(d) == (0, 0)


def test_wait_for_many_connections(smp):
    from serverless_mp.connection import wait

    pipes = [smp.Pipe(duplex=False) for _ in range(30)]
    readers = [reader for reader, _ in pipes]
    wait(readers, 0)  # now each reader has a descriptor, and is watched
    if STORE == "cluster":
        assert cost(wait, readers, 0)[1] == 30
    else:
        assert cost(wait, readers, 0) == (1, 1)
        assert cost(wait, readers[:8], 0) == (1, 8)


def test_deleted_regions_cost_nothing(smp):
    lock, queue = smp.Lock(), smp.SimpleQueue()

    def use():
        with lock:
            queue.put(0)
            queue.get()
        _core.settle()

    def sent(operation):
        before = _core.counters()["bytes"]
        operation()
        return _core.counters()["bytes"] - before

    use()
    before = sent(use)
    for n in range(500):
        smp.Value("i", 0).value = n
        with lock:
            pass
    # The message and the release each name fewer than 66 of the 500 regions.
    assert sent(use) < before + 2 * 66 * 30


def test_event_set_to_wake(smp):
    """Between `set` and the waiter's return, the setter makes one round trip, and the waiter ends its sleep."""
    event, woken = smp.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (event.wait(), woken.set()))
    thread.start()
    while not _core.counters()["round_trips"]:
        time.sleep(0)
    time.sleep(0.2)  # now the waiter sleeps; the beginning of its wait is not counted
    with Cost() as spent:
        event.set()
        woken.wait()
    thread.join()
    assert spent.round_trips <= 3


@pytest.fixture
def server(smp, store):
    """A connection to the private store of this session, which nobody else uses."""
    if store is not None:
        pytest.skip("on a private store only: others talk to this one as well")
    smp.Semaphore(0)  # now there is a session
    path, password = _core.session_info()["url"].removeprefix("redis+unix://").split("?pass=")
    connection = stores.Connection(unquote(path), unquote(password))
    yield connection
    connection.close()


def calls(server, prefix):
    """How often the server has done the commands whose names begin so."""
    counts = [text for name, text in server.info("commandstats").items() if name.startswith(f"cmdstat_{prefix}")]
    return sum(int(text.split("calls=")[1].split(",")[0]) for text in counts)


def report_and_wait(value, reports, queue):
    reports.put(value.value)  # the thread that feeds the queue lives on
    queue.get()


def test_a_process_that_waits_fetches_nothing(smp, server):
    value, reports, queue = smp.Value("i", 0, lock=False), smp.Queue(), smp.SimpleQueue()
    process = smp.Process(target=report_and_wait, args=(value, reports, queue))
    process.start()
    assert reports.get() == 0
    server.call("CONFIG", "RESETSTAT")
    for n in range(1, 41):
        value.value = n
        while calls(server, "setrange") < n:  # published by the thread that looks every 5 ms
            time.sleep(0.002)
    fetched = calls(server, "fcall_ro")
    queue.put(None)
    process.join()
    assert (fetched, process.exitcode) == (0, 0)


def test_our_count_is_the_server_s(smp, server):
    """Compares our counters with the server's."""
    lock, queue = smp.Lock(), smp.Queue()
    queue.put(0)
    queue.get()
    _core.settle()

    def processed():
        return int(server.info("stats")["total_commands_processed"])

    before, own, called = processed(), _core.counters()["commands"], calls(server, "fcall")
    for i in range(50):
        lock.acquire()
        lock.release()
        queue.put(i)
        queue.get()
    _core.settle()
    ours, theirs = _core.counters()["commands"] - own, processed() - before - 1
    # The server also counts the commands inside scripts, so the calls of scripts are compared.
    assert ours <= theirs
    assert calls(server, "fcall") - called >= ours - 60

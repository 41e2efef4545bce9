"""Queues."""

import queue as exceptions

import pytest


def produce(queue, first, last):
    for i in range(first, last):
        queue.put(i)


def consume_and_count(tasks, results):
    while (item := tasks.get()) is not None:
        results.put(item * 2)
        tasks.task_done()
    tasks.task_done()


def test_order_and_completeness(mp):
    queue = mp.Queue()
    processes = [mp.Process(target=produce, args=(queue, first, first + 500)) for first in (0, 1000)]
    for process in processes:
        process.start()
    got = [queue.get(timeout=30) for _ in range(1000)]
    for process in processes:
        process.join()
    assert [i for i in got if i < 1000] == list(range(500))
    assert [i for i in got if i >= 1000] == list(range(1000, 1500))
    assert queue.empty()


def test_bounded(mp):
    queue = mp.Queue(2)
    queue.put(1)
    queue.put(2)
    assert queue.full() and queue.qsize() == 2
    with pytest.raises(exceptions.Full):
        queue.put_nowait(3)
    with pytest.raises(exceptions.Full):
        queue.put(3, timeout=0.05)
    assert queue.get(timeout=10) == 1
    queue.put(3)
    assert [queue.get(timeout=10), queue.get(timeout=10)] == [2, 3]


def test_empty(mp):
    queue = mp.Queue()
    with pytest.raises(exceptions.Empty):
        queue.get_nowait()
    with pytest.raises(exceptions.Empty):
        queue.get(timeout=0.05)


def test_own_unsent_items_count(smp):
    queue = smp.Queue()
    for i in range(100):
        queue.put(i)
    assert queue.qsize() == 100
    assert not queue.empty()


def test_joinable(mp):
    tasks, results = mp.JoinableQueue(), mp.Queue()
    process = mp.Process(target=consume_and_count, args=(tasks, results))
    process.start()
    for i in [1, 2, 3, None]:
        tasks.put(i)
    tasks.join()
    assert [results.get(timeout=10) for _ in range(3)] == [2, 4, 6]
    process.join()
    with pytest.raises(ValueError, match="too many times"):
        tasks.task_done()


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 20) + 5000, 5 << 20])
def test_sizes(mp, size):
    queue = mp.SimpleQueue()
    process = mp.Process(target=queue_bytes, args=(queue, size))
    process.start()
    assert queue.get() == b"x" * size
    process.join()


def queue_bytes(queue, size):
    queue.put(b"x" * size)


def test_an_item_that_cannot_be_pickled_is_left_out(mp, capsys):
    queue = mp.Queue(1)
    queue.put(lambda: None)
    queue.put(1)
    assert queue.get(timeout=30) == 1
    assert "pickle" in capsys.readouterr().err


def test_closed(mp):
    queue = mp.Queue()
    queue.close()
    queue.join_thread()
    for use in (queue.get, lambda: queue.put(1)):
        with pytest.raises(ValueError, match="is closed"):
            use()


def test_a_timeout_that_is_not_a_number(mp):
    with pytest.raises(ValueError):
        mp.Queue().get(True, float("nan"))


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("it cannot be pickled")


class PickledAfter:
    """An item whose pickling waits until the consumer has the item before it."""

    def __init__(self, event):
        self.event = event

    def __reduce__(self):
        return bool, (self.event.wait(30),)


def put_and_end(queue):
    for item in range(5):
        queue.put(item)
    queue.put(Unpicklable())
    queue.put("after")


def put_and_wait(queue, event):
    queue.put("first")
    queue.put(PickledAfter(event))


def test_items_before_one_that_cannot_be_pickled_are_sent(mp):
    queue = mp.Queue()
    process = mp.Process(target=put_and_end, args=(queue,))
    process.start()
    assert [queue.get(timeout=30) for _ in range(5)] == list(range(5))
    process.join()
    assert process.exitcode == 0


def test_pickling_an_item_may_wait_for_the_one_before_it(mp):
    queue, event = mp.Queue(), mp.Event()
    process = mp.Process(target=put_and_wait, args=(queue, event))
    process.start()
    assert queue.get(timeout=20) == "first"
    event.set()
    assert queue.get(timeout=20) is True
    process.join()


# More processes than wait on the list of items at once.
MANY = 24


def double_until_none(tasks, results, begun):
    begun.release()
    while (item := tasks.get()) is not None:
        results.put(item * 2)


def take_one(tasks, results, begun):
    begun.release()
    results.put(tasks.get())


def get_in_vain(tasks, results, begun):
    try:
        tasks.get(timeout=0.01)
    except exceptions.Empty:
        begun.release()
        results.put(tasks.get())


def started(context, target, tasks, results):
    """Starts many processes, and waits until all have begun."""
    begun = context.Semaphore(0)
    processes = [context.Process(target=target, args=(tasks, results, begun)) for _ in range(MANY)]
    for process in processes:
        process.start()
    for _ in processes:
        assert begun.acquire(timeout=60)
    return processes


def ended(processes):
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_many_take_from_one_queue(mp):
    tasks, results = mp.Queue(), mp.Queue()
    processes = started(mp, double_until_none, tasks, results)
    for _ in range(3):
        for i in range(4 * MANY):
            tasks.put(i)
        assert sorted(results.get(timeout=60) for _ in range(4 * MANY)) == [2 * i for i in range(4 * MANY)]
    for _ in processes:
        tasks.put(None)
    assert ended(processes) == [0] * MANY
    assert tasks.empty()


def test_many_that_waited_in_vain_wait_again(mp):
    tasks, results = mp.Queue(), mp.Queue()
    processes = started(mp, get_in_vain, tasks, results)
    for i in range(MANY):
        tasks.put(i)
    assert sorted(results.get(timeout=60) for _ in range(MANY)) == list(range(MANY))
    assert ended(processes) == [0] * MANY


def test_a_process_killed_while_many_wait_takes_nothing_along(smp):
    tasks, results = smp.Queue(), smp.Queue()
    processes = started(smp, take_one, tasks, results)
    killed, others = processes[::2], processes[1::2]
    for process in killed:
        process.kill()
    for i in range(len(others)):
        tasks.put(i)
    assert sorted(results.get(timeout=60) for _ in others) == list(range(len(others)))
    assert ended(killed) == [-9] * len(killed)
    assert ended(others) == [0] * len(others)
    assert tasks.empty()


def end_of_file(reader, results, begun):
    begun.release()
    try:
        reader.recv()
    except EOFError:
        results.put("end")


def test_many_that_wait_see_the_end_of_file(smp):
    reader, writer = smp.Pipe(duplex=False)
    results = smp.Queue()
    processes = started(smp, end_of_file, reader, results)
    writer.close()
    assert [results.get(timeout=60) for _ in processes] == ["end"] * MANY
    assert ended(processes) == [0] * MANY

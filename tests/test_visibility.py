"""Whatever tells a process that another one has come to a point, makes visible what that one wrote before it.

The arrays have one element in the first granule and one in the last.
"""

import importlib
import threading
import time

import pytest

LAST = 39_999
TURNS = 20


def write(array, number):
    array[0] = array[LAST] = number


def read(array):
    return array[0], array[LAST]


def shared(mp):
    return mp.RawArray("i", LAST + 1)


def started(mp, target, *arguments):
    process = mp.Process(target=target, args=arguments)
    process.start()
    return process


def until_one_is_ready(connection):
    """`connection.wait` of the same package."""
    assert importlib.import_module(type(connection).__module__).wait([connection]) == [connection]


# ---- barriers ------------------------------------------------------------------------------------------------


class Sum:
    """The action of a barrier: adds up what the parties have written."""

    def __init__(self, parts, total):
        self.parts, self.total = parts, total

    def __call__(self):
        self.total.value = sum(self.parts)


def meet(barrier, parts, own, total, seen):
    for turn in range(TURNS):
        parts[own] = own + turn
        barrier.wait()
        seen.put(total.value)
        barrier.wait()


def test_the_action_of_a_barrier_sees_what_the_parties_wrote(mp):
    parts, total, seen = mp.RawArray("i", 3), mp.RawValue("i", 0), mp.SimpleQueue()
    barrier = mp.Barrier(3, action=Sum(parts, total))
    processes = [started(mp, meet, barrier, parts, own, total, seen) for own in range(3)]
    for turn in range(TURNS):
        assert [seen.get() for _ in range(3)] == [3 + 3 * turn] * 3
    for process in processes:
        process.join()


def wait_in_vain(barrier, array, seen):
    try:
        barrier.wait()
    except threading.BrokenBarrierError:
        seen.put(read(array))


@pytest.mark.parametrize("how", ["abort", "reset"])
def test_who_waits_in_vain_sees_what_was_written(mp, how):
    barrier, array, seen = mp.Barrier(2), shared(mp), mp.SimpleQueue()
    process = started(mp, wait_in_vain, barrier, array, seen)
    while barrier.n_waiting == 0:
        pass
    write(array, 5)
    getattr(barrier, how)()
    assert seen.get() == (5, 5)
    process.join()


# ---- the ends of pipes ---------------------------------------------------------------------------------------


def write_and_leave(array, number, connection, how):
    write(array, number)
    if how == "close":
        connection.close()
        time.sleep(0.5)  # lives on: its end would tell as well


@pytest.mark.parametrize("how", ["close", "end"])
def test_the_end_of_a_pipe_tells(mp, how):
    for number in range(1, 6):
        array = shared(mp)
        reader, writer = mp.Pipe(duplex=False)
        process = started(mp, write_and_leave, array, number, writer, how)
        writer.close()
        with pytest.raises(EOFError):
            reader.recv()
        assert read(array) == (number, number)
        process.join()


def test_a_broken_pipe_tells(mp):
    array = shared(mp)
    reader, writer = mp.Pipe(duplex=False)
    process = started(mp, write_and_leave, array, 7, reader, "close")
    reader.close()
    with pytest.raises(BrokenPipeError):
        while True:
            writer.send(1)
    assert read(array) == (7, 7)
    process.join()


def test_the_end_of_a_pipe_tells_who_waits_for_it(mp):
    array = shared(mp)
    reader, writer = mp.Pipe(duplex=False)
    process = started(mp, write_and_leave, array, 7, writer, "close")
    writer.close()
    until_one_is_ready(reader)
    assert read(array) == (7, 7)
    process.join()


# ---- states --------------------------------------------------------------------------------------------------


def count_by_event(event, array):
    """Counts when the event is set, and then clears it."""
    for _ in range(TURNS):
        while not event.is_set():
            pass
        write(array, array[0] + 1)
        event.clear()


def test_an_event_that_is_clear_tells(mp):
    event, array = mp.Event(), shared(mp)
    process = started(mp, count_by_event, event, array)
    for turn in range(1, TURNS + 1):
        write(array, 100 * turn)
        event.set()
        while event.is_set():
            pass
        assert read(array) == (100 * turn + 1,) * 2
    process.join()


def write_and_release(array, number, semaphore):
    write(array, number)
    semaphore.release()


def test_the_value_of_a_semaphore_tells(mp):
    for number in range(1, 6):
        semaphore, array = mp.Semaphore(0), shared(mp)
        process = started(mp, write_and_release, array, number, semaphore)
        while semaphore.get_value() == 0:
            pass
        assert read(array) == (number, number)
        process.join()


def write_and_put(array, number, queue):
    write(array, number)
    queue.put("")


@pytest.mark.parametrize("is_there", [lambda queue: queue.qsize() > 0, lambda queue: not queue.empty()], ids=["qsize", "empty"])
def test_the_length_of_a_queue_tells(mp, is_there):
    for number in range(1, 6):
        queue, array = mp.Queue(), shared(mp)
        process = started(mp, write_and_put, array, number, queue)
        while not is_there(queue):
            pass
        assert read(array) == (number, number)
        queue.get()
        process.join()


def write_and_send(array, number, connection):
    write(array, number)
    connection.send("")


@pytest.mark.parametrize(
    "until_there",
    [lambda one: one.poll(None), lambda one: one.poll(60), until_one_is_ready],
    ids=["poll", "poll in time", "wait"],
)
def test_a_message_that_waits_tells(mp, until_there):
    for number in range(1, 6):
        array = shared(mp)
        reader, writer = mp.Pipe(duplex=False)
        process = started(mp, write_and_send, array, number, writer)
        until_there(reader)
        assert read(array) == (number, number)
        assert reader.recv() == ""
        process.join()


def write_and_wait(array, number, barrier):
    write(array, number)
    barrier.wait()


def test_the_parties_at_a_barrier_tell(mp):
    for number in range(1, 6):
        barrier, array = mp.Barrier(2), shared(mp)
        process = started(mp, write_and_wait, array, number, barrier)
        while barrier.n_waiting == 0:
            pass
        assert read(array) == (number, number)
        barrier.wait()
        process.join()


# ---- waits that time out -------------------------------------------------------------------------------------


WAITS = {
    "Event": lambda mp: mp.Event().wait,
    "Semaphore": lambda mp: lambda seconds: mp.Semaphore(0).acquire(timeout=seconds),
    "Queue": lambda mp: lambda seconds: mp.Queue().get(timeout=seconds),
    "Connection": lambda mp: mp.Pipe()[0].poll,
    "Condition": lambda mp: within(mp.Condition()),
    "Barrier": lambda mp: mp.Barrier(2).wait,
}


def within(condition):
    def wait(seconds):
        with condition:
            condition.wait(seconds)

    return wait


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_that_times_out_is_followed_by_what_was_written(mp, name):
    """A write without synchronisation is seen after a moment, also if the reader only waits."""
    wait, array, told = WAITS[name](mp), shared(mp), mp.Semaphore(0)
    process = started(mp, publish_later, array, told)
    told.release()
    end = time.monotonic() + 60
    while read(array) != (9, 9):
        assert time.monotonic() < end
        try:
            wait(0.1)
        except Exception as error:  # noqa: BLE001 - the means differ in how they say it
            assert type(error).__name__ in ("Empty", "BrokenBarrierError")
    told.release()
    process.join()


def publish_later(array, told):
    told.acquire()
    write(array, 9)
    while not told.acquire(timeout=0.1):
        pass

"""Values and arrays, and the visibility of writes."""

import ctypes
import threading
import time

import numpy as np
import pytest


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


def increment(value, n):
    for _ in range(n):
        with value.get_lock():
            value.value += 1


def test_another_thread_drops_an_array_while_this_one_releases_a_lock(mp):
    kept, lock, stop = [mp.Array("i", 100) for _ in range(10)], mp.Lock(), threading.Event()

    def make_and_drop():
        while not stop.is_set():
            mp.RawArray("i", 10)[0] = 1

    thread = threading.Thread(target=make_and_drop)
    thread.start()
    try:
        for n in range(100):
            with lock:
                kept[n % 10][n % 100] = n
    finally:
        stop.set()
        thread.join()
    assert lock.acquire(block=False)


def write_and_drop(box, connection):
    array = box.pop()
    array[:] = range(len(array))
    del array
    connection.send("written")
    connection.recv()


def test_what_was_written_to_an_array_outlives_it(mp):
    array, (here, there) = mp.RawArray("i", 1000), mp.Pipe()
    process = mp.Process(target=write_and_drop, args=([array], there))
    process.start()
    assert here.recv() == "written"
    assert array[:] == list(range(1000))
    here.send("end")
    process.join()


def count_and_drop(box, lock, connection):
    value = box.pop()
    for _ in range(20):
        with lock:
            value.value += 1
    del value
    connection.send("counted")


def test_what_was_released_with_a_lock_is_known_after_its_value_has_gone(mp):
    """The reader does not take the lock: it knows of the writes by the message, or by the end of the process."""
    for n in range(10):
        value, lock, (here, there) = mp.RawValue("q", 0), mp.Lock(), mp.Pipe()
        process = mp.Process(target=count_and_drop, args=([value], lock, there))
        process.start()
        if n % 2:
            process.join()
        else:
            assert here.recv() == "counted"
        assert value.value == 20
        process.join()


def test_locked_increments(mp):
    value = mp.Value("q", 5)
    processes = [mp.Process(target=increment, args=(value, 50)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert value.value == 155


def change(number, array, point, text):
    number.value *= 2
    for i in range(len(array)):
        array[i] += i
    point.x, point.y = 7, 0.5
    text.value = b"changed"


def test_writes_of_a_process_are_there_after_join(mp):
    number = mp.RawValue("d", 1.5)
    array = mp.Array("i", range(10))
    point = mp.Value(Point, 1, 2.0)
    text = mp.Array("c", b"original text")
    process = mp.Process(target=change, args=(number, array, point, text))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert number.value == 3.0
    assert array[:] == [2 * i for i in range(10)]
    assert (point.x, point.y) == (7, 0.5)
    assert text.value == b"changed"


def test_a_view_is_the_memory_itself(mp):
    array = mp.Array("f", 1000)
    view = np.ctypeslib.as_array(array.get_obj())
    view[:] = np.arange(1000)
    process = mp.Process(target=double_all, args=(array,))
    process.start()
    process.join()
    assert (view == 2 * np.arange(1000)).all()


def double_all(array):
    view = np.ctypeslib.as_array(array.get_obj())
    view *= 2


def test_writes_before_a_message_are_there_with_it(mp):
    value, array = mp.RawValue("i", 0), mp.RawArray("b", 1 << 20)
    here, there = mp.Pipe()
    process = mp.Process(target=answer_with_memory, args=(value, array, there))
    process.start()
    for i in range(1, 5):
        value.value = i
        array[-i] = i
        here.send("look")
        assert here.recv() == (i, i)
        assert value.value == -i
    process.join()


def answer_with_memory(value, array, connection):
    for i in range(1, 5):
        connection.recv()
        seen = value.value, array[-i]
        value.value = -i
        connection.send(seen)


def relay(value, incoming, outgoing, add):
    incoming.get()
    value.value += add
    outgoing.put("go on")


def test_visibility_is_transitive(mp):
    """The third process gets messages from the second only, and sees the writes of the first."""
    value = mp.RawValue("i", 1)
    a, b, c = mp.SimpleQueue(), mp.Queue(), mp.JoinableQueue()
    first = mp.Process(target=relay, args=(value, a, b, 10))
    second = mp.Process(target=relay, args=(value, b, c, 100))
    first.start()
    second.start()
    a.put("go")
    assert c.get(timeout=30) == "go on"
    assert value.value == 111
    first.join()
    second.join()


def write_every_second(array, start, barrier):
    for i in range(start, len(array), 2):
        array[i] = start + 1
    barrier.wait(30)
    assert list(array) == [1, 2] * (len(array) // 2)


def test_two_writers_of_one_page_both_survive(mp):
    array, barrier = mp.RawArray("b", 1000), mp.Barrier(3)
    processes = [mp.Process(target=write_every_second, args=(array, start, barrier)) for start in (0, 1)]
    for process in processes:
        process.start()
    barrier.wait(30)
    assert list(array) == [1, 2] * 500
    for process in processes:
        process.join()
        assert process.exitcode == 0


def add_to_every_place(array, lock, begin, step):
    view = np.frombuffer(array, dtype=np.int32)
    for _ in range(5):
        with lock:
            view[begin::step] += 1


@pytest.mark.parametrize(("locks", "step"), [(1, 1), (3, 3)])
def test_many_places_of_one_page_change_at_once(mp, locks, step):
    """Processes write all of an array under one lock, or each its own places under its own lock."""
    array, locks = mp.RawArray("i", 50_000), [mp.Lock() for _ in range(locks)]
    processes = [mp.Process(target=add_to_every_place, args=(array, locks[n % len(locks)], n % step, step)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert set(array) == {15 // step}


def see(values, semaphore, event, queue, answers):
    answers.put("ready")
    semaphore.acquire()
    answers.put([value.value for value in values])
    event.wait()
    answers.put([value.value for value in values])
    queue.get()
    answers.put([value.value for value in values])


def come_and_go(mp, lock):
    """Makes and drops more regions than a list of versions may name."""
    for n in range(200):
        value = mp.RawValue("i", n)
        with lock:
            value.value += 1


def test_writes_are_seen_after_many_deleted_regions(mp):
    values, lock, answers = [mp.RawValue("i", 0) for _ in range(5)], mp.Lock(), mp.SimpleQueue()
    signals = mp.Semaphore(0), mp.Event(), mp.SimpleQueue()
    process = mp.Process(target=see, args=(values, *signals, answers))
    process.start()
    assert answers.get() == "ready"
    for n, signal in enumerate([signals[0].release, signals[1].set, lambda: signals[2].put(None)]):
        for value in values:
            value.value = n + 1
        come_and_go(mp, lock)
        signal()
        assert answers.get() == [n + 1] * 5
    process.join()


def write_one_byte(array, lock, stop):
    while not stop.is_set():
        with lock:
            array[0] = (array[0] + 1) % 100


def test_a_release_does_not_wait_for_writers_elsewhere(mp):
    """Each process has its own places and its own lock."""
    array, locks, stop = mp.RawArray("b", 1 << 20), (mp.Lock(), mp.Lock()), mp.Event()
    process = mp.Process(target=write_one_byte, args=(array, locks[0], stop))
    process.start()
    for n in range(5):
        with locks[1]:
            array[1 << 15 :: 512] = bytes([n]) * len(range(1 << 15, 1 << 20, 512))
    stop.set()
    process.join()
    assert process.exitcode == 0


def test_events_conditions_and_semaphores_carry_memory(mp):
    value, event, semaphore = mp.RawValue("i", 0), mp.Event(), mp.Semaphore(0)
    condition = mp.Condition()
    process = mp.Process(target=write_then_signal, args=(value, event, semaphore, condition))
    with condition:
        process.start()
        event.wait(30)
        assert value.value >= 1
        semaphore.acquire(timeout=30)
        assert value.value >= 2
        assert condition.wait_for(lambda: value.value == 3, 30)
    process.join()


def write_then_signal(value, event, semaphore, condition):
    value.value = 1
    event.set()
    value.value = 2
    semaphore.release()
    with condition:
        value.value = 3
        condition.notify()


def spin(value, ready):
    ready.send(None)
    while value.value == 0:
        pass


def test_a_spin_on_a_raw_value_ends(mp):
    value = mp.RawValue("i", 0)
    here, there = mp.Pipe()
    process = mp.Process(target=spin, args=(value, there))
    process.start()
    here.recv()
    value.value = 1
    mp.Event().set()
    process.join(5)
    ended = not process.is_alive()
    process.kill()
    process.join()
    assert ended


def count_until(counter, stop, sleeps):
    while not stop.value:
        counter.value += 1
        time.sleep(sleeps)


@pytest.mark.parametrize("sleeps", [0, 0.01])
def test_progress_and_a_stop_without_any_lock(mp, sleeps):
    """Both sides only read and write."""
    counter, stop = mp.RawValue("q", 0), mp.Value("b", 0, lock=False)
    process = mp.Process(target=count_until, args=(counter, stop, sleeps))
    process.start()
    seen = set()
    while len(seen) < 4:
        seen.add(counter.value)
        time.sleep(0.001)
    stop.value = 1
    process.join(30)
    assert process.exitcode == 0
    assert counter.value >= max(seen)


def fill_when_told(array, told, done):
    while not told[0]:
        time.sleep(0.001)
    memoryview(array).cast("B")[: 1 << 20] = b"x" * (1 << 20)
    done[0] = 1
    while told[0] == 1:
        pass


def test_a_large_array_without_any_lock(mp):
    array, told, done = mp.RawArray("b", 3 << 20), mp.RawArray("b", 1), mp.RawArray("b", 1)
    process = mp.Process(target=fill_when_told, args=(array, told, done))
    process.start()
    told[0] = 1
    while not done[0]:
        pass
    # Writes before the flag are visible with it.
    assert bytes(array[: 1 << 20]) == b"x" * (1 << 20)
    told[0] = 2
    process.join(30)
    assert process.exitcode == 0


def test_arguments(mp):
    assert mp.Value("i", lock=False).value == 0
    lock = mp.RLock()
    assert mp.Array("i", 3, lock=lock).get_lock() is lock
    with pytest.raises(AttributeError):
        mp.Array("i", 3, lock="no lock")
    with pytest.raises(TypeError):
        mp.Value("i", 1, 2)


def test_threads_publish_as_well(mp):
    value, queue = mp.RawValue("i", 0), mp.SimpleQueue()
    process = mp.Process(target=add_when_told, args=(value, queue))
    process.start()

    def write():
        value.value = 41
        queue.put("now")

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    process.join()
    assert value.value == 42


def add_when_told(value, queue):
    queue.get()
    value.value += 1


def add_to_all(values, lock, times):
    for _ in range(times):
        with lock:
            for value in values:
                value.value += 1


def test_many_values_under_one_lock(mp):
    values, lock = [mp.Value("i", i, lock=False) for i in range(20)], mp.Lock()
    processes = [mp.Process(target=add_to_all, args=(values, lock, 50)) for _ in range(3)]
    for process in processes:
        process.start()
    add_to_all(values, lock, 50)
    for process in processes:
        process.join()
    with lock:
        assert [value.value for value in values] == [200 + i for i in range(20)]


def move(array, lock, times):
    for _ in range(times):
        with lock:
            array[:] = array[1:] + array[:1]


def test_an_array_that_changes_in_many_places(mp):
    array, lock = mp.Array("i", range(1000), lock=False), mp.Lock()
    processes = [mp.Process(target=move, args=(array, lock, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with lock:
        assert array[:] == [(i + 60) % 1000 for i in range(1000)]


def add_in_threads(first, second, lock, times):
    def add(value):
        for _ in range(times):
            with lock:
                value.value += 1

    threads = [threading.Thread(target=add, args=(value,)) for value in (first, second, first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_of_processes_share_values(mp):
    first, second, lock = mp.Value("q", 0, lock=False), mp.Value("q", 0, lock=False), mp.Lock()
    processes = [mp.Process(target=add_in_threads, args=(first, second, lock, 40)) for _ in range(3)]
    for process in processes:
        process.start()
    add_in_threads(first, second, lock, 40)
    for process in processes:
        process.join()
    with lock:
        assert (first.value, second.value) == (320, 320)


def swap_locks(array, outer, inner, times):
    for i in range(times):
        with outer, inner:
            array[i % len(array)] += 1
        with inner:
            array[-1 - i % len(array)] -= 1


def test_a_value_under_several_locks(mp):
    array, outer, inner = mp.Array("i", 8, lock=False), mp.Lock(), mp.RLock()
    processes = [mp.Process(target=swap_locks, args=(array, outer, inner, 64)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with inner:
        assert array[:] == [0] * 8


def count_beside_noise(value, times, resume):
    resume.wait()
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def test_other_threads_release_other_locks_meanwhile(mp):
    value, other, resume = mp.Value("i", 0), mp.Lock(), mp.Event()
    process = mp.Process(target=count_beside_noise, args=(value, 2000, resume))
    process.start()
    is_over = threading.Event()

    def release():
        while not is_over.is_set():
            with other:
                pass

    threads = [threading.Thread(target=release) for _ in range(3)]
    for thread in threads:
        thread.start()
    resume.set()
    count_beside_noise(value, 500, resume)
    process.join()
    is_over.set()
    for thread in threads:
        thread.join()
    assert value.value == 2500


def look(value, connection):
    connection.send(None)
    while connection.recv() is not None:
        connection.send(value.value)


def test_a_release_that_fails_keeps_the_writes(mp):
    value, lock, (here, there) = mp.Value("i", 0, lock=False), mp.BoundedSemaphore(1), mp.Pipe()
    process = mp.Process(target=look, args=(value, there))
    process.start()
    here.recv()
    value.value = 5
    with pytest.raises(ValueError):
        lock.release()
    here.send(True)
    assert here.recv() == 5
    here.send(None)
    process.join()


def write_and_tell(array, step, connection):
    """Writes every fourth place of an array, and says so, as often as asked."""
    while (number := connection.recv()) is not None:
        np.frombuffer(array, "i4")[step::4] = number
        connection.send(number)


@pytest.mark.parametrize("size", [400, 16_000, 100_000])
def test_writes_that_go_with_messages(mp, size):
    array = mp.RawArray("i", size)
    view = np.frombuffer(array, "i4")
    pipes = [mp.Pipe() for _ in range(3)]
    processes = [mp.Process(target=write_and_tell, args=(array, step, there)) for step, (_, there) in enumerate(pipes)]
    for process in processes:
        process.start()
    for number in range(1, 60):
        view[3::4] = number
        for here, _ in pipes:
            here.send(number)
        for here, _ in pipes:
            assert here.recv() == number
        assert (view == number).all()
    for here, _ in pipes:
        here.send(None)
    for process in processes:
        process.join()


def send_into_nothing(array, connection):
    array[0] = 1
    try:
        for _ in range(100):
            connection.send(None)
            array[0] += 1
    except BrokenPipeError:
        array[1] = 1


def test_writes_before_a_message_that_nobody_gets(mp):
    array, (here, there) = mp.RawArray("i", 2), mp.Pipe()
    process = mp.Process(target=send_into_nothing, args=(array, there))
    here.close()
    process.start()
    there.close()
    process.join()
    assert list(array) == [1, 1]

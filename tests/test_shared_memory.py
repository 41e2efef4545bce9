"""Named blocks: CPython's `multiprocessing.shared_memory`, and ours."""

from __future__ import annotations

import errno
import multiprocessing.managers
import multiprocessing.shared_memory
import threading
import types

import numpy as np
import pytest

import serverless_mp.managers
import serverless_mp.shared_memory


@pytest.fixture(params=["stdlib", "serverless"])
def both(request):
    """A spawn context, the module, and the manager class: once CPython's, once ours."""
    package = multiprocessing if request.param == "stdlib" else serverless_mp
    return types.SimpleNamespace(
        mp=package.get_context("spawn"), shm=package.shared_memory, Manager=package.managers.SharedMemoryManager
    )


def double(kind, name):
    block = kind(name)
    array = np.ndarray((4,), dtype="i8", buffer=block.buf)
    array *= 2
    del array
    block.close()


def fill(block):
    block.buf[:3] = b"abc"


def look_when_told(kind, name, told, answers):
    block = kind(name)
    answers.put("there")
    told.recv()
    answers.put(block.buf[0])
    block.close()


def test_versions_seen_by_attaching_travel_with_messages(both):
    block = both.shm.SharedMemory(create=True, size=8)
    (told, tell), answers = both.mp.Pipe(duplex=False), both.mp.SimpleQueue()
    process = both.mp.Process(target=look_when_told, args=(both.shm.SharedMemory, block.name, told, answers))
    process.start()
    assert answers.get() == "there"
    # Another process writes; the sender of the message knows of that only by having attached.
    writer = both.mp.Process(target=write_first, args=(both.shm.SharedMemory, block.name))
    writer.start()
    writer.join()
    tell.send("look")
    assert answers.get() == 7
    process.join()
    block.close()
    block.unlink()


def write_first(kind, name):
    block = kind(name)
    block.buf[0] = 7
    block.close()


def test_threads_that_attach_at_once_share_a_buffer(both):
    block = both.shm.SharedMemory(create=True, size=8)
    name, barrier = block.name, threading.Barrier(4)
    # The program closes its own block first, so that all threads must attach.
    holder = both.mp.Process(target=hold, args=(both.shm.SharedMemory, name, *(pipe := both.mp.Pipe())))
    holder.start()
    assert pipe[0].recv() == "held"
    block.close()

    def attach(found):
        barrier.wait()
        found.append(both.shm.SharedMemory(name))

    for n in range(1, 21):
        found = []
        threads = [threading.Thread(target=attach, args=(found,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found[0].buf[0] = n
        assert [each.buf[0] for each in found] == [n] * 4
        for each in found:
            each.close()
    pipe[0].send("go")
    holder.join()
    both.shm.SharedMemory(name).unlink()


def hold(kind, name, _, connection):
    block = kind(name)
    connection.send("held")
    connection.recv()
    block.close()


def use(items, name, kind):
    items[0] += 1
    other = kind(name=name)
    other[1] = "longer"
    other.shm.close()


def test_one_block_in_two_processes(both):
    block = both.shm.SharedMemory(create=True, size=32)
    try:
        array = np.ndarray((4,), dtype="i8", buffer=block.buf)
        array[:] = [1, 2, 3, 4]
        process = both.mp.Process(target=double, args=(both.shm.SharedMemory, block.name))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert array.tolist() == [2, 4, 6, 8]
        del array
    finally:
        block.close()
        block.unlink()


def test_a_block_travels_as_its_name(both):
    block = both.shm.SharedMemory(create=True, size=8)
    process = both.mp.Process(target=fill, args=(block,))
    process.start()
    process.join()
    assert bytes(block.buf[:3]) == b"abc"
    block.close()
    block.unlink()


def test_names(both):
    first = both.shm.SharedMemory("serverless-mp-tests", create=True, size=10)
    try:
        with pytest.raises(FileExistsError) as e:
            both.shm.SharedMemory("serverless-mp-tests", create=True, size=10)
        assert (e.value.errno, e.value.filename) == (17, "/serverless-mp-tests")
        again = both.shm.SharedMemory("serverless-mp-tests")
        assert again.size >= 10
        again.buf[9] = 7
        assert first.buf[9] == 7
        again.close()
        first.unlink()
        with pytest.raises(FileNotFoundError) as e:
            both.shm.SharedMemory("serverless-mp-tests")
        assert (e.value.errno, e.value.filename) == (2, "/serverless-mp-tests")
        # The name is free, and the block still exists.
        other = both.shm.SharedMemory("serverless-mp-tests", create=True, size=5)
        assert (first.buf[9], other.buf[0]) == (7, 0)
        other.close()
        other.unlink()
    finally:
        first.close()
    with pytest.raises(FileNotFoundError):
        first.unlink()


def test_content_outlives_the_last_access(both):
    block = both.shm.SharedMemory(create=True, size=10)
    block.buf[:2] = b"hi"
    block.close()
    again = both.shm.SharedMemory(block.name)
    assert bytes(again.buf[:2]) == b"hi"
    again.close()
    again.unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"create": True, "size": -1}, "'size' must be a positive integer"),
        ({"create": True}, "'size' must be a positive number different from zero"),
        ({}, "'name' can only be None if create=True"),
    ],
)
def test_bad_arguments(both, arguments, message):
    with pytest.raises(ValueError, match=message):
        both.shm.SharedMemory(**arguments)


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("name", "error"),
    [("", OSError), ("/", OSError), ("a/b", OSError), ("x" * 300, OSError), (5, TypeError), (b"x", TypeError)],
)
def test_names_that_are_none(both, name, error, create):
    with pytest.raises(error) as e:
        both.shm.SharedMemory(name, create, 8)
    assert getattr(e.value, "errno", errno.EINVAL) == errno.EINVAL


def test_slashes_before_a_name(both):
    block = both.shm.SharedMemory(create=True, size=8)
    block.buf[0] = 7
    same = both.shm.SharedMemory("//" + block.name)
    assert same.buf[0] == 7
    same.close()
    block.close()
    block.unlink()


def test_a_name_with_a_null():
    """Raises the same error as CPython since 3.13."""
    with pytest.raises(ValueError, match="embedded null character"):
        serverless_mp.shared_memory.SharedMemory("a\0b", create=True, size=1)


def test_a_view_holds_a_block_open(both):
    block = both.shm.SharedMemory(create=True, size=4)
    view = block.buf[1:]
    with pytest.raises(BufferError):
        block.close()
    view.release()
    block.close()
    block.unlink()


def test_list(both):
    items = both.shm.ShareableList([1, "a       ", None, 2.5, b"bytes"])
    try:
        process = both.mp.Process(target=use, args=(items, items.shm.name, both.shm.ShareableList))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert list(items) == [2, "longer", None, 2.5, b"bytes"]
    finally:
        items.shm.close()
        items.shm.unlink()


def test_manager(both):
    with both.Manager(ctx=both.mp) as manager:
        block = manager.SharedMemory(size=16)
        items = manager.ShareableList(range(3))
        assert both.shm.SharedMemory(block.name).size == 16
        assert both.shm.ShareableList(name=items.shm.name)[2] == 2
    with pytest.raises(FileNotFoundError):
        both.shm.SharedMemory(block.name)

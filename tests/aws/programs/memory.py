"""Shared memory of every kind, written and read by processes: by elements, slices, views, system calls and spins."""

import ctypes
import multiprocessing
import os
import random
import sys
import tempfile
from multiprocessing import shared_memory, sharedctypes

LENGTH = 300_000
TIMES = 200


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("n", ctypes.c_int)]


def count(value, array, lock, raw, point):
    for i in range(TIMES):
        with value.get_lock():
            value.value += 1
        with array.get_lock():
            array[i] += i
            array[-1 - i] -= i
        with lock:
            raw[: 10 * TIMES] = [n + 1 for n in raw[: 10 * TIMES]]
            point.x += 0.5
            point.n += 1


def interleave(raw, me, others):
    """Writes every second byte, without a lock."""
    view = memoryview(raw).cast("B")
    view[me::2] = bytes([me + 1]) * len(view[me::2])
    others.wait()
    assert bytes(view[:4]) == b"\1\2\1\2"


def call_the_system(raw, name):
    """Reads a file and a pipe into shared pages, and writes others to a file."""
    block = shared_memory.SharedMemory(name)
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(bytes(range(256)) * 1000)
        file.seek(0)
        file.readinto(memoryview(raw).cast("B")[4096 : 4096 + 256_000])
        file.write(block.buf[1_000_000:1_100_000])
        file.seek(256_000)
        assert file.read() == bytes(block.buf[1_000_000:1_100_000])
    ends = os.pipe()
    os.write(ends[1], b"by a pipe")
    os.readv(ends[0], [block.buf[2_000_000:2_000_009]])
    block.close()


def wait_for_it(flag, answer):
    while not flag.value:
        pass
    answer.value = flag.value + 1


def look_at_random(raw, total):
    rng = random.Random(1)
    total.value = sum(raw[rng.randrange(LENGTH)] for _ in range(2000))


def run(context, *calls):
    processes = [context.Process(target=target, args=arguments) for target, *arguments in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print([process.exitcode for process in processes])


def main(method):
    context = multiprocessing.get_context(method)
    value, array, lock = context.Value("q", 0), context.Array("i", LENGTH), context.Lock()
    raw, point = context.RawArray("i", LENGTH), sharedctypes.RawValue(Point, 0, 0)
    run(context, *[(count, value, array, lock, raw, point)] * 2)
    print(value.value, sum(array[:TIMES]), sum(array[-TIMES:]), set(raw[: 10 * TIMES]), point.x, point.n)

    both = context.Barrier(2)
    run(context, *[(interleave, raw, me, both) for me in range(2)])
    print(set(memoryview(raw).cast("B")[::2]), set(memoryview(raw).cast("B")[1::2]))

    block = shared_memory.SharedMemory(create=True, size=5 << 20)
    block.buf[1_000_000:1_100_000] = os.urandom(50_000) * 2
    run(context, (call_the_system, raw, block.name))
    print(
        bytes(memoryview(raw).cast("B")[4096 : 4096 + 256_000]) == bytes(range(256)) * 1000,
        bytes(block.buf[2_000_000:2_000_009]),
    )
    block.close()
    block.unlink()

    flag, answer = context.RawValue("i", 0), context.RawValue("i", 0)
    process = context.Process(target=wait_for_it, args=(flag, answer))
    process.start()
    flag.value = 41
    process.join()
    print(answer.value)

    raw[:] = range(LENGTH)
    totals = [context.RawValue("q") for _ in range(3)]
    run(context, *[(look_at_random, raw, total) for total in totals])
    rng = random.Random(1)
    print({total.value for total in totals} == {sum(rng.randrange(LENGTH) for _ in range(2000))})

    names = shared_memory.ShareableList(["a", 1, None, b"bytes", 2.5])
    run(context, (change, names))
    print(list(names))
    names.shm.close()
    names.shm.unlink()


def change(names):
    names[1] += 1
    names[0] = "b"


if __name__ == "__main__":
    main(sys.argv[1])

"""Random programs over shared memory: what a process reads after a message is what was written before it.

A token goes through the processes; who has it writes spans, reads spans and passes it on. So each read has one right answer,
which a model of plain bytes gives. Between two tokens, all processes write bytes of their own next to one another.
"""

import ctypes
import gc
import os
import random
import sys
import zlib

import pytest

SEEDS = range(int(os.environ.get("SERVERLESS_MP_TEST_SEEDS", 3)))
# Smaller than a granule, some granules, and large enough for a base that workers share.
SIZES = (100, 150_000, (2 << 20) + 5)
PROCESSES = 3
# The bytes of this many places at the beginning of each array are written without the token: process p has each p-th byte.
OWN = 30


def spans(random, count=4):
    for _ in range(count):
        which = random.randrange(len(SIZES))
        start = random.randrange(OWN * 2, SIZES[which] - 1)
        yield which, start, min(random.choice([1, 7, 70_000]), SIZES[which] - start)


def views(arrays):
    return [memoryview(array).cast("B") for array in arrays]


def own_places(me):
    return range(me, OWN, PROCESSES + 1)


def worker(me, arrays, receiver, sender):
    found = views(arrays)
    for round_ in iter(receiver.recv, None):
        for view in found:
            for place in own_places(me):
                view[place] = (round_ * 3 + me) % 251
        seed = receiver.recv()
        step(random.Random(seed), found, sender.send)


def step(random, found, tell):
    """Writes some spans, reads others, and tells what they have."""
    for which, start, length in spans(random):
        found[which][start : start + length] = bytes([random.randrange(1, 256)]) * length
    tell([zlib.crc32(found[which][start : start + length]) for which, start, length in spans(random)])


@pytest.mark.parametrize("seed", SEEDS)
def test_reads_are_those_of_a_model(mp, seed):
    chance = random.Random(seed)
    arrays = [mp.RawArray(ctypes.c_ubyte, size) for size in SIZES]
    model = [bytearray(size) for size in SIZES]
    found = views(arrays)
    for which in range(len(SIZES)):
        content = chance.randbytes(SIZES[which] - 2 * OWN)
        found[which][2 * OWN :] = content
        model[which][2 * OWN :] = content
    workers = []
    for round_ in range(12):
        if round_ % 2 == 0 and len(workers) < PROCESSES:  # some begin late
            (from_parent, to_worker), (from_worker, to_parent) = mp.Pipe(duplex=False), mp.Pipe(duplex=False)
            process = mp.Process(target=worker, args=(len(workers), arrays, from_parent, to_parent))
            process.start()
            workers.append((process, to_worker, from_worker))
        for _, to_worker, _ in workers:
            to_worker.send(round_)
        for which in range(len(SIZES)):
            for place in own_places(PROCESSES):
                found[which][place] = model[which][place] = (round_ + 7) % 251
        for me, (_, to_worker, from_worker) in enumerate(workers):
            step_seed = chance.random()
            to_worker.send(step_seed)
            expected = []
            step(random.Random(step_seed), model, expected.extend)
            assert from_worker.recv() == expected, (round_, me)
            for array in model:
                for place in own_places(me):
                    array[place] = (round_ * 3 + me) % 251
        step(random.Random(round_), found, lambda _: None)
        step(random.Random(round_), model, lambda _: None)
        assert [bytes(view) for view in found] == [bytes(array) for array in model]
    for process, to_worker, _ in workers:
        to_worker.send(None)
        process.join()
        assert process.exitcode == 0
    assert [bytes(view) for view in found] == [bytes(array) for array in model]


def tell_files(array, connection):
    """Sends the files in memory that are mapped here with at least the size of the array, and what it begins with."""
    begin = bytes(memoryview(array).cast("B")[:3])
    files = set()
    with open("/proc/self/maps") as maps:
        for line in maps:
            bounds, _, _, _, inode, *name = line.split()
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            if end - start >= ctypes.sizeof(array) and name and "memfd:serverless_mp" in name[0]:
                files.add(inode)
    connection.send((begin, files))
    connection.recv()


@pytest.mark.skipif(sys.platform != "linux", reason="files in memory")
def test_the_workers_of_a_machine_map_one_file(smp):
    array = smp.RawArray(ctypes.c_ubyte, 4 << 20)
    memoryview(array).cast("B")[:] = bytes([7]) * len(array)
    pipes = [smp.Pipe() for _ in range(3)]
    processes = [smp.Process(target=tell_files, args=(array, theirs)) for _, theirs in pipes]
    for process in processes:
        process.start()
    told = [ours.recv() for ours, _ in pipes]
    assert [begin for begin, _ in told] == [b"\7\7\7"] * 3
    assert len(set.union(*(files for _, files in told))) == 1
    for (ours, _), process in zip(pipes, processes, strict=True):
        ours.send(None)
        process.join()


def hold_up(gate):
    gate.recv()
    return gate


class HeldUp:
    """Unpickled before the arguments that follow it, when the other end of the pipe says so."""

    def __init__(self, gate):
        self.gate = gate

    def __reduce__(self):
        return hold_up, (self.gate,)


def read_twice(array, receiver, sender):
    found = memoryview(array).cast("B")
    sender.send(found[5000])
    told = receiver.recv()
    sender.send((told, found[5000]))


def tell_what_is_there(_, array, sender):
    sender.send(memoryview(array).cast("B")[5000])


def hold(_):
    pass


def test_what_a_late_process_tells_is_seen_by_others(mp):
    """The late one maps newer content than it was told of."""
    array = mp.RawArray(ctypes.c_ubyte, 2 << 20)
    found = memoryview(array).cast("B")
    found[:] = bytes([1]) * len(array)
    from_late, to_first = mp.Pipe(duplex=False)
    here, to_here = mp.Pipe(duplex=False)
    gate, open_gate = mp.Pipe(duplex=False)
    first = mp.Process(target=read_twice, args=(array, from_late, to_here))
    first.start()
    assert here.recv() == 1
    late = mp.Process(target=tell_what_is_there, args=(HeldUp(gate), array, to_first))
    late.start()
    found[:] = bytes([2]) * len(array)
    other = mp.Process(target=hold, args=(array,))
    other.start()
    open_gate.send(None)
    told, seen = here.recv()
    assert seen >= told
    for process in (first, late, other):
        process.join()


class Cycle:
    """Takes a lock when the collector finds it."""

    def __init__(self, lock):
        self.lock, self.me = lock, self

    def __del__(self):
        with self.lock:
            pass


def write_and_collect(array, lock, semaphore):
    found = memoryview(array).cast("B")
    for n in range(100):
        found[n * 8192 % len(array)] = n + 1
        Cycle(lock)
        # The collector runs after so many more allocations: somewhere in the release.
        gc.set_threshold(gc.get_count()[0] + n % 40 + 1)
        semaphore.release()
    gc.set_threshold(700)


def test_the_collector_runs_while_memory_is_published(mp):
    array, lock, semaphore = mp.RawArray(ctypes.c_ubyte, 2 << 20), mp.Lock(), mp.Semaphore(0)
    memoryview(array).cast("B")[:] = bytes([1]) * len(array)
    process = mp.Process(target=write_and_collect, args=(array, lock, semaphore))
    process.start()
    process.join(60)
    assert process.exitcode == 0

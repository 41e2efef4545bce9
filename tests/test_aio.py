"""asyncio with our objects: other tasks run while one waits, and a cancelled wait takes nothing."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import weakref

import pytest

from forks import fork
from serverless_mp import _core, aio


def answer(queue, go):
    go.wait()
    queue.put("from the process")


def test_get_and_join(smp):
    async def main():
        queue, go = smp.Queue(), smp.Event()
        process = smp.Process(target=answer, args=(queue, go))
        process.start()
        waits = asyncio.gather(aio.get(queue), aio.join(process))
        await asyncio.sleep(0)  # both wait, and the loop continues
        go.set()
        assert await asyncio.wait_for(waits, 30) == ["from the process", None]
        assert process.exitcode == 0
        await aio.join(process)

    asyncio.run(main())


def test_many_waits_for_one_queue(smp):
    async def main():
        queue = smp.SimpleQueue()
        waits = [asyncio.create_task(aio.get(queue)) for _ in range(20)]
        await asyncio.sleep(0)
        for n in range(20):
            queue.put(n)
        assert sorted(await asyncio.wait_for(asyncio.gather(*waits), 30)) == list(range(20))

    asyncio.run(main())


def test_a_cancelled_get_takes_nothing(smp):
    async def main():
        queue = smp.Queue()
        for n in range(20):
            waiting = asyncio.create_task(aio.get(queue))
            await asyncio.sleep(0.001 * (n % 3))
            waiting.cancel()
            queue.put(n)
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await aio.get(queue) == n

    asyncio.run(main())


def test_acquire(smp):
    async def main():
        lock, order = smp.Lock(), []

        async def work(n):
            async with aio.locked(lock):
                order.append(n)
                await asyncio.sleep(0)
                order.append(n)

        await asyncio.wait_for(asyncio.gather(*map(work, range(5))), 30)
        assert [order[i] for i in range(0, 10, 2)] == [order[i] for i in range(1, 10, 2)]
        assert sorted(order) == sorted([*range(5), *range(5)])
        assert lock.acquire(block=False)

    asyncio.run(main())


def test_many_tasks_on_one_queue_ask_no_more_than_one(smp):
    async def main():
        queue = smp.SimpleQueue()
        tasks = [asyncio.create_task(aio.get(queue)) for _ in range(50)]
        await asyncio.sleep(0)
        before = _core.counters()["round_trips"]
        for n in range(50):
            await asyncio.to_thread(queue.put, n)
        assert await asyncio.wait_for(asyncio.gather(*tasks), 30) == list(range(50))  # in the order of the calls
        # Each item is sent, seen and taken; a look before it may find nothing, and cause one more look.
        assert _core.counters()["round_trips"] - before <= 50 * 5

    asyncio.run(main())


def test_a_cancelled_acquire_holds_nothing(smp):
    async def main():
        lock = smp.Lock()
        for n in range(20):
            lock.acquire()
            waiting = asyncio.create_task(aio.acquire(lock))
            await asyncio.sleep(0.001 * (n % 3))
            if n % 2:
                lock.release()
                waiting.cancel()
            else:
                waiting.cancel()
                lock.release()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            # A lock that the cancelled wait had acquired is released.
            assert await asyncio.wait_for(aio.acquire(lock), 30)
            lock.release()

    asyncio.run(main())


def test_objects_that_are_not_ours(smp):
    other = multiprocessing.get_context("spawn")
    process = other.Process(target=print)
    for wait, obj, kind in ((aio.get, other.SimpleQueue(), "queue"), (aio.acquire, other.Lock(), "lock")):
        with pytest.raises(TypeError, match=f"is not a {kind} of serverless_mp"):
            asyncio.run(wait(obj))
    with pytest.raises(AssertionError, match="can only join a started process"):
        asyncio.run(aio.join(process))
    with pytest.raises(TypeError, match="an RLock belongs to a thread"):
        asyncio.run(aio.acquire(smp.RLock()))


def test_many_tasks_wait_for_a_lock_on_one_thread(smp):
    async def main():
        lock = smp.Lock()
        lock.acquire()
        tasks = [asyncio.create_task(aio.acquire(lock)) for _ in range(100)]
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):  # all of them have begun to wait by then
            await asyncio.wait_for(aio.acquire(lock), 0.1)
        assert len(os.listdir("/proc/self/task")) < 50
        for task in tasks:
            lock.release()
            assert await asyncio.wait_for(task, 30)  # in the order in which they came
        lock.release()

    asyncio.run(main())


def test_after_a_fork_of_the_program(smp):
    queue, lock = smp.SimpleQueue(), smp.Lock()
    lock.acquire()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(aio.acquire(lock), 0.01))

    def take_both():
        assert asyncio.run(asyncio.wait_for(aio.get(queue), 30)) == 1
        assert asyncio.run(asyncio.wait_for(aio.acquire(lock), 30))
        lock.release()

    ended = fork(take_both)
    queue.put(1)
    lock.release()
    ended()
    assert asyncio.run(asyncio.wait_for(aio.acquire(lock), 30))


def test_a_wait_ends_while_a_child_of_os_fork_lives(smp):
    """The child has copies of the descriptors by which the loop is told."""

    async def main():
        lock = smp.Lock()
        lock.acquire()
        waiting = asyncio.create_task(aio.acquire(lock))
        await asyncio.sleep(0)  # it waits
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(1)
        try:
            lock.release()
            assert await asyncio.wait_for(waiting, 30)
        finally:
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(os.waitpid, pid, 0)

    asyncio.run(main())


def test_loops_are_not_kept(smp):
    lock, queue, loops = smp.Lock(), smp.SimpleQueue(), weakref.WeakSet()

    async def main():
        loops.add(asyncio.get_running_loop())
        async with aio.locked(lock):
            waits = aio.acquire(lock), aio.acquire(lock), aio.get(queue), aio.get(queue)
            tasks = [asyncio.create_task(wait) for wait in waits]
            await asyncio.sleep(0)
        await asyncio.wait_for(tasks[0], 30)
        lock.release()
        await asyncio.wait_for(tasks[1], 30)
        lock.release()
        for task in tasks[2:]:
            task.cancel()

    for _ in range(3):
        asyncio.run(main())
    gc.collect()
    assert len(loops) == 0

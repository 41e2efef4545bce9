"""The blocking calls of multiprocessing as coroutines for asyncio. This is an addition to CPython's interface.

    item = await aio.get(queue)
    await aio.join(process)
    async with aio.locked(lock): ...

Other tasks of the loop run meanwhile. A cancelled coroutine has taken nothing: no item is lost and no lock stays held. The
coroutines accept objects of this package, whichever way the program got them, and raise TypeError for others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from queue import Empty
from typing import TYPE_CHECKING, Any

from . import _core, queues, reduction, synchronize
from .local.popen import Popen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["acquire", "get", "join", "locked"]


async def get(queue: Any) -> Any:
    """The next item of a Queue, JoinableQueue or SimpleQueue, as `get()` returns it. Round trips are made in the loop
    itself.
    """
    if not isinstance(queue, (queues.Queue, queues.SimpleQueue)):
        raise _not_ours(queue, "queue")
    async with _turn(queue):
        while True:
            if isinstance(queue, queues.Queue):
                with contextlib.suppress(Empty):
                    return queue.get(block=False)
            elif (data := queue._reader._handle.recv(block=False)) is not None:
                return reduction.loads(data)
            await _readable(queue._reader._handle.fileno(look=False))


@contextlib.asynccontextmanager
async def _turn(obj: Any) -> AsyncIterator[None]:
    """The turn of a task with a queue or a lock: one task of a loop asks the store while the others wait, in their order."""
    loop, turns = asyncio.get_running_loop(), _turns(obj)
    # The lock refers to its loop: it is kept only as long as tasks use it.
    turn, users = turns.get(loop) or (asyncio.Lock(), 0)
    turns[loop] = turn, users + 1
    try:
        async with turn:
            yield
    finally:
        turn, users = turns.pop(loop)
        if users > 1:
            turns[loop] = turn, users - 1


def _turns(obj: Any) -> dict[asyncio.AbstractEventLoop, tuple[asyncio.Lock, int]]:
    """The locks by which the loops give turns, and the number of tasks that use each of them."""
    return vars(obj).setdefault("_turns", {})


async def join(process: Any) -> None:
    """Waits until a process has ended, as `join()` does."""
    if getattr(process, "_popen", None) is not None:
        if not isinstance(process._popen, Popen):
            raise _not_ours(process, "process")
        await _readable(process.sentinel)
    process.join()  # this also raises the errors of a process that cannot be joined


async def _readable(fd: int) -> None:
    """Waits until a descriptor is readable. Uses a copy, since the program may watch the same descriptor in its loop."""
    loop, own = asyncio.get_running_loop(), os.dup(fd)
    waiting = loop.create_future()

    def wake() -> None:
        if not waiting.done():
            waiting.set_result(None)

    loop.add_reader(own, wake)
    try:
        await waiting
    finally:
        loop.remove_reader(own)
        os.close(own)


async def acquire(lock: Any) -> bool:
    """Acquires a Lock, Semaphore or BoundedSemaphore. Release it with its own `release()`.

    The tasks of a loop get it in the order in which they asked; one of them waits in turn with the waiters of other processes.
    Raises TypeError for an RLock, which belongs to a thread: all tasks of a loop share one.
    """
    if isinstance(lock, synchronize.RLock):
        message = "an RLock belongs to a thread, and all tasks of a loop share one: use a Lock"
        raise TypeError(message)
    if not isinstance(lock, synchronize.SemLock):
        raise _not_ours(lock, "lock")
    # A newcomer does not overtake the tasks that wait for their turn.
    if asyncio.get_running_loop() in _turns(lock) or not lock._semlock.acquire(False):
        async with _turn(lock):
            wait = _core.Acquiring(lock._semlock)
            try:
                await _readable(wait.fileno())
                wait.finish()
            finally:
                wait.cancel()
    return True


@contextlib.asynccontextmanager
async def locked(lock: Any) -> AsyncIterator[None]:
    """Holds a lock or semaphore for the duration of `async with`."""
    await acquire(lock)
    try:
        yield
    finally:
        lock.release()


def _not_ours(obj: Any, kind: str) -> TypeError:
    return TypeError(f"{type(obj).__module__}.{type(obj).__qualname__} is not a {kind} of serverless_mp")

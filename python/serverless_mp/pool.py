"""Counterpart of `multiprocessing.pool`: CPython's pool over one queue, which carries tasks to the workers and results back.

The differences: a task is acknowledged by its result. If a worker dies before that, the task is begun again; the task fails
when it has killed as many workers as it has attempts. The parent takes all available results at once.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import weakref
from multiprocessing import pool
from multiprocessing.connection import Connection
from multiprocessing.context import ProcessError
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

from . import _core, config, context
from .local import launcher
from .pool_queues import Results, Tasks
from .process import starts_in_a_row
from .stdlib import public_names
from .stdlib.rebind import rebound
from .store import limits, session

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Pool", "ThreadPool"]


# The pool gives up when this many times its number of workers have failed in a row without any result.
_HOPELESS = 3
# Seconds between two looks for new tasks by a pool that has no workers and fails every task.
_BROKEN_PAUSE = 0.1

# CPython's functions, which `install()` replaces.
_base_maintain, _base_help = pool.Pool._maintain_pool, pool.Pool._help_stuff_finish
_repopulate = pool.Pool._repopulate_pool_static


class Pool(pool.Pool):
    """CPython's pool with its three threads."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Any = None,
        initargs: Any = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        # `__del__` reads this, also after an error below.
        self._state = pool.INIT  # type: ignore[attr-defined]
        context = _default_context(context)
        # CPython's ThreadPool also calls this as `Pool`, though it is not a subclass.
        if isinstance(self, Pool) and processes is None:
            processes = context.cpu_count()
        # The queues need these values.
        self._maxtasksperchild, self._processes, self._initializer = maxtasksperchild, processes, initializer
        # A local pipe wakes the pool's threads: only this process writes to it.
        _base_init(self, processes, initializer, initargs, maxtasksperchild, _WithLocalQueue(context))

    def _setup_queues(self) -> None:
        if config.launcher() == "local":
            launcher.ensure()  # the zygote starts while the store does
        session.ensure()
        limits.check(self._processes)
        parent, workers = _core.TaskQueue.pair(config.pipe_size())
        self._inqueue = Tasks(parent, workers, self._maxtasksperchild)
        self._outqueue = Results(workers, parent, self._maxtasksperchild)
        self._inqueue.tell_pool = self._outqueue.tell_pool = functools.partial(_wake, weakref.ref(self))
        self._inqueue.has_initializer = self._initializer is not None
        self._inqueue.fail = functools.partial(_fail_task, weakref.ref(self))
        self._quick_put = self._inqueue.put
        self._quick_get = self._outqueue.get

    def _repopulate_pool(self) -> Any:
        with starts_in_a_row(self._ctx):
            return super()._repopulate_pool()

    @staticmethod
    def _maintain_pool(ctx: Any, process: Any, processes: int, workers: Any, inqueue: Any, outqueue: Any, *rest: Any) -> None:
        """CPython's function. It gives up after many workers have ended in a row without a result; CPython's pool goes on for
        ever.
        """
        if isinstance(outqueue, Results):  # CPython's ThreadPool also gets here by the name
            if outqueue.error is not None:
                message = f"no results can be read any more: {outqueue.error}"
                raise ProcessError(message) from outqueue.error
            outqueue.failures += sum(bool(worker.exitcode) for worker in workers)
            if outqueue.failures > _HOPELESS * processes:
                code = next(worker.exitcode for worker in workers if worker.exitcode)
                message = (
                    f"{outqueue.failures} workers in a row ended before they had done anything, the last with exit code {code}"
                )
                if ctx.get_start_method() != "fork" and code == 1:
                    message += (
                        "; under this start method each imports the main module again: what it does beyond defining things "
                        "must stand below `if __name__ == '__main__':`"
                    )
                raise ProcessError(message)
            processes = _wanted(processes, workers, inqueue, outqueue)
        while True:
            try:
                _base_maintain(ctx, process, processes, workers, inqueue, outqueue, *rest)
                if len(workers) < processes:  # replaces workers that have ended since the look
                    _repopulate(ctx, process, processes, workers, inqueue, outqueue, *rest)
            except ConnectionError as e:
                # An unreachable store may answer at the next attempt.
                if _core.is_lost() or threading.current_thread()._state != pool.RUN:
                    message = f"no worker can be started any more: {e}"
                    raise ProcessError(message) from e
            else:
                return

    @classmethod
    def _handle_workers(cls, cache: Any, taskqueue: Any, *rest: Any) -> None:
        try:
            super()._handle_workers(cache, taskqueue, *rest)
        except Exception as e:  # noqa: BLE001 - any error ends the pool
            # No task can run any more, so all waiting tasks fail.
            while threading.current_thread()._state == pool.RUN:
                for job in list(cache.values()):
                    for _ in range(getattr(job, "_number_left", 1)):
                        job._set(getattr(job, "_index", 0), (False, e))
                time.sleep(_BROKEN_PAUSE)
            taskqueue.put(None)

    def _map_async(self, func: Any, iterable: Any, mapper: Any, chunksize: int | None = None, *callbacks: Any) -> Any:
        """CPython divides the items by the current number of workers, which may be zero if they have just died."""
        if chunksize is None:
            iterable = iterable if hasattr(iterable, "__len__") else list(iterable)
            chunksize = -(-len(iterable) // (4 * self._processes))
        _map.items_are_at_hand = type(iterable) in (list, tuple, range)
        try:
            return super()._map_async(func, iterable, mapper, chunksize, *callbacks)
        finally:
            _map.items_are_at_hand = False

    def _guarded_task_generation(self, result_job: Any, func: Any, iterable: Any) -> Any:
        tasks = super()._guarded_task_generation(result_job, func, iterable)
        if not _map.items_are_at_hand or not isinstance(self._inqueue, Tasks):
            return tasks
        return _together(self._inqueue, tasks)

    def _get_sentinels(self) -> list[Any]:
        own = [self._change_notifier._reader]
        return own if isinstance(self._outqueue, Results) else [self._outqueue._reader, *own]

    @staticmethod
    def _help_stuff_finish(inqueue: Any, task_handler: Any, size: int) -> None:
        """Discards tasks that block a task handler which waits for capacity."""
        if not isinstance(inqueue, Tasks):  # a subclass may have queues of its own
            return _base_help(inqueue, task_handler, size)
        with contextlib.suppress(ConnectionError):  # without a store nothing can be discarded, and nothing waits
            while task_handler.is_alive() and inqueue._workers.discard_task():
                pass
        return None


def _wanted(processes: int, workers: list[Any], tasks: Tasks, results: Results) -> int:
    """The wanted number of workers. Idle workers that have ended are replaced only when there are tasks for them."""
    if not config.idle_timeout():
        return processes
    # Set first: a task that is not counted below makes its putter wake the pool.
    tasks.lacks_workers = True
    alive = sum(worker.exitcode is None for worker in workers)
    wanted = min(processes, max(alive, tasks.count - results.count))
    tasks.lacks_workers = wanted < processes
    return wanted


# CPython's `__init__` starts threads with methods of the class that it finds under the name `Pool`.
_base_init = rebound(pool.Pool.__init__, Pool=Pool)


class _Map(threading.local):
    """The map call that this thread is about to start."""

    # Whether its items are available without waiting.
    items_are_at_hand = False


_map = _Map()


def _together(queue: Tasks, tasks: Iterator[Any]) -> Iterator[Any]:
    """Yields tasks to a handler that puts them one by one, so that they are sent together."""
    with queue.together():
        yield from tasks


def _fail_task(reference: weakref.ref[Any], job: int, i: int, error: Exception) -> None:
    """Sets an error as the result of a task."""
    pool = reference()
    result = pool and pool._cache.get(job)
    if result is not None:
        result._set(i, (False, error))


def _wake(reference: weakref.ref[Any]) -> None:
    """Wakes the thread that looks after a pool's workers."""
    pool = reference()
    if pool is not None:
        pool._change_notifier.put(None)


class _WithLocalQueue:
    """A pool's context: our context, except for the queue by which the pool's own threads wake each other."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def SimpleQueue(self) -> Any:
        return _LocalQueue()


class _LocalQueue:
    """A queue within this process. Its reader has a descriptor, on which CPython's worker handler waits."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self._reader = Connection(reader, writable=False)
        self._writer = Connection(writer, readable=False)

    def put(self, obj: Any) -> None:
        self._writer.send(obj)

    def get(self) -> Any:
        return self._reader.recv()

    def empty(self) -> bool:
        return not self._reader.poll()


def _default_context(ctx: Any) -> Any:
    return ctx or context.default.get_context()


public_names.complete(__name__)

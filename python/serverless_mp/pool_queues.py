"""The queues of a pool: tasks on their way to its workers, results on the way back."""

from __future__ import annotations

import collections
import contextlib
import functools
import struct
import sys
from io import TextIOWrapper
from multiprocessing import pool
from multiprocessing.context import ProcessError
from types import FunctionType
from typing import TYPE_CHECKING, Any

from . import _core, config, reduction
from .function import deadline
from .program import main_module
from .program.self_contained import is_self_contained
from .queues import is_plain
from .store import pickling_guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The maximum number of tasks sent together, and the maximum number of items in each of them.
_MOST_TOGETHER, _FEW = 64, 4

# The maximum number of tasks that a worker takes at once, as far as the pool is concerned.
_MOST_AHEAD = 1000

# The header of a task and of its result: job and index. It can be read even if the rest cannot be unpickled.
_HEAD = struct.Struct("=qq")
_NOBODY = _HEAD.pack(-1, -1)


def _post_end(queue: Any) -> None:
    """Sends an end marker, which stops the next reader. Without a store there is no reader."""
    with contextlib.suppress(ConnectionError):
        queue.post(_NOBODY)


def _flush_output() -> None:
    """In a worker: what its task has printed is written, since the pool may be terminated as soon as it has the result."""
    if type(sys.stdout) is TextIOWrapper:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()


def _fail(error: Exception) -> None:
    """Runs in place of the function of a task that could not be unpickled."""
    raise error


class Tasks:
    """The queue of tasks: the parent puts, a worker gets."""

    def __init__(self, queue: Any, workers: Any = None, limit: int | None = None) -> None:
        self._queue, self._workers, self._limit = queue, workers, limit
        # Tasks that are sent together, as long as their iterable cannot block. `fail` fails a task; only the parent uses it.
        self._batch: list[bytes] | None = None
        # `_is_one_by_one`: a worker takes one task at a time. Several would not begin in the order in which they were put, and
        # a task that waits for one behind it might wait for ever.
        self._is_one_by_one = False
        # An initializer may give to a global of a worker what a task waits for.
        self.has_initializer = False
        # The last function that was looked at, and whether it is self-contained.
        self._known: tuple[Any, bool] = (None, False)
        self.fail: Callable[[int, int, Exception], None] = lambda _job, _i, _error: None
        # `count`: the number of tasks put. `lacks_workers`: the pool has fewer workers than it may have, so that `put` wakes
        # it.
        self.count = 0
        self.lacks_workers = False
        self.tell_pool: Callable[[], None] = lambda: None

    def put(self, task: Any) -> None:
        """Puts a task, or None to end one worker. Waits while the tasks in the queue have too many bytes."""
        if task is None:
            _post_end(self._queue)
            return
        batch = self._batch if _is_plain(task) else None
        if batch is None:
            self._send()  # pickling this task may wait for the effects of earlier tasks
        data = _dump_task(task)
        if not self._is_one_by_one and not self._can_not_wait(task):
            self._send()
            self._queue.take_one_by_one()
            self._is_one_by_one = True
        self.count += 1
        if self.lacks_workers:
            self.tell_pool()
        if batch is None:
            self._queue.put_tasks([data])
            return
        batch.append(data)
        if len(batch) >= _MOST_TOGETHER:
            self._send()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Tasks put inside the block may be sent together, at the latest when it ends."""
        self._batch = []
        try:
            yield
        finally:
            self._send()
            self._batch = None

    def _can_not_wait(self, task: Any) -> bool:
        """Whether a task cannot wait for another one: its function is self-contained, and its arguments are simple values."""
        _, _, function, arguments, options = task
        if function in _CHUNKS:
            function, arguments = arguments[0]
        if self.has_initializer or options or len(arguments) > _FEW or not all(map(is_plain, arguments)):
            return False
        if function is not self._known[0]:
            self._known = function, is_self_contained(function)
        return self._known[1]

    def _send(self) -> None:
        tasks = self._batch
        if not tasks:
            return
        self._batch = []
        try:
            self._queue.put_tasks(tasks)
        except Exception as e:  # noqa: BLE001 - as CPython's task handler does for one task
            for task in tasks:
                job, i = _HEAD.unpack_from(task)
                self.fail(job, i, e)

    def get(self) -> Any:
        """In a worker: the next task, which stays in work until its result is sent. Returns None to end the worker: if the
        parent asks for it, if the worker's machine has too little time left, or if the worker was idle for too long. The pool
        replaces the worker.
        """
        data = self._queue.get()
        if data is None or data == _NOBODY:
            return None
        job, i = _HEAD.unpack_from(data)
        try:
            return job, i, *reduction.loads(data[_HEAD.size :])
        except Exception as e:  # noqa: BLE001 - the program's own pickling rules run here
            e.add_note("serverless_mp: the task could not be unpickled in the worker")
            main_module.explain(e)
            return job, i, _fail, (e,), {}

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), _hold(self._queue), self._limit)


def _is_plain(task: Any) -> bool:
    """Whether a task is a chunk of few simple values for a function, so that pickling it runs no code of the program."""
    _, _, function, arguments, _ = task
    if function not in _CHUNKS:
        return False
    (function, items) = arguments[0]
    return type(function) is FunctionType and len(items) <= _FEW and all(map(is_plain, items))


_CHUNKS = (pool.mapstar, pool.starmapstar)  # type: ignore[attr-defined]


def _dump_task(task: Any) -> bytes:
    job, i, *rest = task
    try:
        return _HEAD.pack(job, i) + reduction.dumps_unexplained(tuple(rest))
    except Exception as e:
        function, arguments, options = rest
        if function in (pool.mapstar, pool.starmapstar):  # type: ignore[attr-defined]
            (function, items), options = arguments[0], {}
            parts = [
                ("the function of the task", function),
                *((f"item {n} of the chunk", item) for n, item in enumerate(items)),
            ]
        else:
            parts = [("the function of the task", function)]
            parts += [(f"argument {n} of the task", argument) for n, argument in enumerate(arguments)]
        parts += [(f"argument {name!r} of the task", argument) for name, argument in options.items()]
        reduction.explain_first(e, parts)
        raise


class Results:
    """The queue of results: a worker puts, the parent gets."""

    def __init__(self, workers: Any, parent: Any = None, limit: int | None = None) -> None:
        self._workers, self._parent, self._limit = workers, parent, limit
        self._taken: collections.deque[Any] = collections.deque()
        # The number of results taken.
        self.count = 0
        # The number of workers that ended with an error since the last result.
        self.failures = 0
        # `error`: why no further result can be read. `tell_pool`, in the parent: wakes the pool's worker handler.
        self.error: Exception | None = None
        self.tell_pool: Callable[[], None] = lambda: None

    def put(self, result: Any) -> None:
        """In a worker: puts the result of the task in work. In the parent: None ends the reading thread."""
        if result is None:
            _post_end(self._workers)
            return
        _flush_output()
        job, i, outcome = result
        try:
            data = reduction.dumps_unexplained(outcome)
        except Exception as e:
            reduction.explain_first(e, [("the result of the task", outcome[1])])
            raise
        self._workers.put(_HEAD.pack(job, i) + data)

    def get(self) -> Any:
        """The next result. If a task used up its attempts by killing workers, its result is a failure."""
        while not self._taken:
            try:
                self._taken.extend(self._parent.get_results())
            except ValueError:  # not one of our results: it was refused, and the refusal is recorded
                continue
            except Exception as e:
                if isinstance(e, ConnectionError) and not _core.is_lost():
                    continue
                self.error = e
                self.tell_pool()
                raise
        data, code = self._taken.popleft()
        self.failures = 0
        if data == _NOBODY:
            return None
        self.count += 1
        job, i = _HEAD.unpack_from(data)
        if code is not None:
            message = f"the worker process died with exit code {code} while it ran this task, as its last attempt"
            return job, i, (False, ProcessError(message))
        try:
            return job, i, reduction.loads(data[_HEAD.size :])
        except Exception as e:  # noqa: BLE001 - the program's own pickling rules run here
            e.add_note("serverless_mp: the result of the task could not be unpickled")
            return job, i, (False, e)

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), _hold(self._workers), self._limit)


def _hold(queue: Any) -> str:
    # Always the workers' end, whichever end the parent keeps.
    pickling_guard.check(queue, fork=False).hold(queue, 1)
    return queue.id


class _WorkersSide:
    """A worker's end of the queue. Tasks and results share it, since a result acknowledges the last task and may take the
    next.
    """

    def __init__(self, ident: str, limit: int | None) -> None:
        self._queue = _core.TaskQueue(ident)
        # `_left`: how many tasks the worker may still begin, None without a limit. `_has_next`: the next task was taken, or
        # requested with the last result.
        self._left, self._has_next = limit, False
        # If results are lost with a worker, all tasks that it took together are begun again.
        self._most = _MOST_AHEAD if config.attempts() > 1 else 1
        self._idle_timeout = config.idle_timeout() or None

    def _time_for_tasks(self) -> float | None:
        """The seconds for which the worker waits for a task, at most the time that its machine has left for one. None means no
        limit.
        """
        left = deadline.working_time()
        return self._idle_timeout if left is None else min(left, self._idle_timeout or left)

    def get(self) -> bytes | None:
        """The next task. Returns None if there is none in time, or if no time is left for one."""
        time = self._time_for_tasks()
        if time is not None and time <= 0 and not self._has_next:
            return None
        self._has_next = False
        task = self._queue.get_task(time)
        if self._left is not None:
            self._left -= 1
        return task

    def put(self, result: bytes) -> None:
        """Puts the result of the task in work. A second result for it, after an error in the first, is dropped."""
        time = self._time_for_tasks()
        most = self._most if self._left is None else min(self._left, self._most)
        self._has_next = self._queue.put_result(result, most if time is None or time > 0 else 0)


def _rebuild(kind: Any, ident: str, limit: int | None) -> Any:
    return kind(_workers_side(ident, limit))


@functools.cache
def _workers_side(ident: str, limit: int | None) -> _WorkersSide:
    return _WorkersSide(ident, limit)

"""Counterpart of `multiprocessing.queues`: CPython's queues over a channel.

The differences: receiving from a channel is one step, so readers and writers need no locks; a bounded queue counts its capacity
in a semaphore, as in CPython, while an unbounded queue needs no counter; `qsize`, `empty` and `full` include items that this
process has put and its feeder has not sent yet.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from multiprocessing import queues, util
from queue import Empty, Full
from typing import Any

from . import _core, installed, reduction
from .connection import Pipe
from .stdlib import public_names
from .stdlib.rebind import rebound
from .store import pickling_guard
from .synchronize import SEM_VALUE_MAX, BoundedSemaphore

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

# A feeder sends available items together, up to this many bytes or this many seconds of pickling.
_MOST_BYTES, _MOST_TIME = 1 << 16, 0.001
_SIMPLE, _FEW = (bytes, str, int, float, bool, type(None)), 16


class _Capacity:
    """The remaining capacity of a queue, and the number of items that its feeder has not sent yet."""

    def __init__(self, semaphore: Any) -> None:
        self.semaphore = semaphore
        self.unsent = 0
        # Held while items move from unsent to sent, so that they are counted once.
        self.lock = threading.Lock()

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes capacity for one item, which counts as unsent."""
        if self.semaphore is not None and not self.semaphore.acquire(block, timeout):
            return False
        with self.lock:
            self.unsent += 1
        return True

    def release(self) -> None:
        """Undoes `acquire` for an item that could not be sent. CPython's feeder calls it."""
        with self.lock:
            self.unsent -= 1
        self.taken()

    def taken(self) -> None:
        """Returns the capacity of an item that was received, from whichever process it came."""
        if self.semaphore is not None:
            self.semaphore._semlock.post()

    def __reduce__(self) -> Any:
        return _Capacity, (self.semaphore,)


class _NoLock(contextlib.nullcontext[None]):
    """Stands where CPython locks out other readers or writers: each read or write is one step here."""

    def acquire(self) -> bool:
        """Returns at once."""
        return True

    def release(self) -> None:
        """Does nothing."""


def is_plain(item: Any) -> bool:
    """Whether pickling an item runs no code of the program and produces nothing large: true for few simple values."""
    if type(item) in (tuple, list):
        return len(item) <= _FEW and all(type(part) in _SIMPLE and _is_small(part) for part in item)
    return type(item) in _SIMPLE and _is_small(item)


def _is_small(item: Any) -> bool:
    return type(item) not in (bytes, str) or len(item) < _MOST_BYTES


class _Sender:
    """Sends for a feeder, many items in one step."""

    def __init__(self, channel: Any, capacity: _Capacity) -> None:
        self._channel, self._capacity = channel, capacity

    def __call__(self, data: Any) -> None:
        self.send([bytes(data)])

    def send(self, items: list[bytes]) -> None:
        """Sends the items in this order."""
        self._channel.wait_for_capacity()
        with self._capacity.lock:
            self._channel.post(items)
            self._capacity.unsent -= len(items)


class _Feeder:
    """The loop body of a queue's feeder thread."""

    def __init__(self, sender: _Sender, ignore_epipe: bool, onerror: Any, capacity: Any) -> None:
        self._sender, self._ignore_epipe, self._onerror, self._capacity = sender, ignore_epipe, onerror, capacity
        self._batch: list[bytes] = []

    def feed(self, buffer: Any) -> bool:
        """Sends the available items, at most one batch. Returns False after the last item."""
        began, size, is_open = time.monotonic(), 0, True
        while buffer and is_open and size < _MOST_BYTES and time.monotonic() - began < _MOST_TIME:
            item = buffer.popleft()
            if item is queues._sentinel:  # type: ignore[attr-defined]
                is_open = False
            else:
                size += self._pickle(item)
            del item  # the reference must not live until the next item comes
        self._send()
        return is_open

    def _pickle(self, item: Any) -> int:
        if not is_plain(item):
            # Pickling this item may take long, fail, or wait for the effects of earlier items.
            self._send()
        try:
            self._batch.append(reduction.dumps(item))
        except Exception as e:  # noqa: BLE001 - goes to the queue's error handler, as in CPython
            self._fail(e, item)
            return 0
        return len(self._batch[-1])

    def _send(self) -> None:
        items, self._batch = self._batch, []
        try:
            if items:
                self._sender.send(items)
        except Exception as e:  # noqa: BLE001 - the same
            for item in items:
                self._fail(e, item)

    def _fail(self, error: Exception, item: Any) -> None:
        if self._ignore_epipe and getattr(error, "errno", 0) == errno.EPIPE:
            raise SystemExit
        if util.is_exiting():  # type: ignore[attr-defined]
            util.info("error in queue thread: %s", error)
            raise SystemExit
        # An item that was not sent takes no capacity.
        self._capacity.release()
        self._onerror(error, item)


class Queue(queues.Queue):
    """CPython's queue with its feeder thread."""

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        bounded = 0 < maxsize < SEM_VALUE_MAX
        reader, writer = Pipe(duplex=False)
        semaphore = BoundedSemaphore(maxsize, ctx=ctx) if bounded else None
        self._restore(False, maxsize if bounded else 0, installed.is_fork(ctx), reader, writer, semaphore)

    def _restore(self, ignore_epipe: bool, maxsize: int, fork: bool, reader: Any, writer: Any, semaphore: Any) -> None:
        self._ignore_epipe = ignore_epipe
        self._maxsize = maxsize
        self._is_fork_ctx = fork
        self._reader = reader
        self._writer = writer
        self._rlock = self._wlock = _NoLock()
        self._opid = os.getpid()
        self._sem = _Capacity(semaphore)
        self._reset()

    def __getstate__(self) -> Any:
        pickling_guard.check(self, self._is_fork_ctx)
        return self._ignore_epipe, self._maxsize, self._is_fork_ctx, self._reader, self._writer, self._sem.semaphore

    def __setstate__(self, state: Any) -> None:
        self._restore(*state)

    def _reset(self, after_fork: bool = False) -> None:
        super()._reset(after_fork)
        self._send_bytes = _Sender(self._writer._handle, self._sem)
        self._recv = self._reader._handle.recv

    @staticmethod
    def _feed(
        buffer: Any,
        notempty: Any,
        send_bytes: _Sender,
        writelock: Any,  # noqa: ARG004 - CPython's signature
        reader_close: Any,
        writer_close: Any,
        ignore_epipe: bool,
        onerror: Any,
        queue_sem: Any,
    ) -> None:
        """CPython's feeder, except that it sends available items together."""
        feeder = _Feeder(send_bytes, ignore_epipe, onerror, queue_sem)
        is_open = True
        while is_open:
            with notempty:
                while not buffer:
                    notempty.wait()
            is_open = feeder.feed(buffer)
        reader_close()
        writer_close()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next item. Raises Empty if there is none in time."""
        if self._closed:
            message = f"Queue {self!r} is closed"
            raise ValueError(message)
        data = self._recv(block, timeout)
        if data is None:
            raise Empty
        self._sem.taken()
        return reduction.loads(data)

    def qsize(self) -> int:
        """The number of items in the queue, including those that this process has not sent yet."""
        if self._maxsize:
            return self._maxsize - self._sem.semaphore.get_value()
        with self._sem.lock:
            return len(self._reader._handle) + self._sem.unsent

    def empty(self) -> bool:
        """Whether the queue has no items."""
        with self._sem.lock:
            return not self._sem.unsent and not self._poll()

    def full(self) -> bool:
        """Whether a bounded queue is full."""
        return bool(self._maxsize) and self._sem.semaphore._semlock._is_zero()


# CPython's `_start_thread` starts the feeder that it finds under the name `Queue`.
Queue._start_thread = rebound(queues.Queue._start_thread, Queue=Queue)  # type: ignore[method-assign, attr-defined]


class JoinableQueue(Queue):
    """CPython's joinable queue, which counts its unfinished tasks in a latch."""

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        super().__init__(maxsize, ctx=ctx)
        self._unfinished = _core.CountDownLatch(0)

    def __getstate__(self) -> Any:
        return super().__getstate__(), pickling_guard.hold(self, self._unfinished)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])
        self._unfinished = _core.CountDownLatch(0, id=state[1])

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Puts an item that `join` waits for. Raises Full if there is no capacity in time."""
        if self._closed:
            message = f"Queue {self!r} is closed"
            raise ValueError(message)
        if not self._sem.acquire(block, timeout):
            raise Full
        # Counted before the item is sent, so that its receiver finds it counted.
        self._unfinished.add(1)
        with self._notempty:
            if self._thread is None:
                self._start_thread()
            self._buffer.append(obj)
            self._notempty.notify()

    def task_done(self) -> None:
        """Marks one task as finished. Raises ValueError if no task is unfinished."""
        try:
            self._unfinished.add(-1)
        except ValueError:
            message = "task_done() called too many times"
            raise ValueError(message) from None

    def join(self) -> None:
        """Waits until all tasks are finished."""
        self._unfinished.wait()


class SimpleQueue(queues.SimpleQueue):
    """CPython's class. The ends of a channel need no locks."""

    def __init__(self, *, ctx: Any = None) -> None:
        self._restore(*Pipe(duplex=False), installed.is_fork(ctx))

    def _restore(self, reader: Any, writer: Any, fork: bool) -> None:
        self._reader, self._writer, self._is_fork_ctx = reader, writer, fork
        self._rlock = self._wlock = _NoLock()
        self._poll = reader.poll

    def __getstate__(self) -> Any:
        pickling_guard.check(self, self._is_fork_ctx)
        return self._reader, self._writer, self._is_fork_ctx

    def __setstate__(self, state: Any) -> None:
        self._restore(*state)

    def get(self) -> Any:
        """The next item."""
        return self._reader.recv()

    def put(self, obj: Any) -> None:
        """Puts an item."""
        self._writer.send(obj)


public_names.complete(__name__)

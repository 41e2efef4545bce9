"""As `multiprocessing.queues`: CPython's queues over a channel.

The differences: a take from a channel is one step, so there are no locks of readers and writers; a bounded queue counts its
capacity in a semaphore as in CPython, an unbounded one in nothing; `qsize`, `empty` and `full` count what this process has put
and its feeder has not sent.
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

from . import _core, reduction
from .connection import Pipe
from .stdlib import public_names
from .stdlib.rebind import rebound
from .store import pickling_guard
from .synchronize import SEM_VALUE_MAX, BoundedSemaphore

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

# A feeder sends items together that are there at once: until they are so many bytes, or pickling them took so many seconds.
_MOST_BYTES, _MOST_TIME = 1 << 16, 0.001
_SIMPLE, _FEW = (bytes, str, int, float, bool, type(None)), 16


class _Capacity:
    """The capacity left in a queue, and how many items its feeder has still to send."""

    def __init__(self, semaphore: Any) -> None:
        self.semaphore = semaphore
        self.unsent = 0
        # Held while an item goes from the one side to the other: it is counted once.
        self.lock = threading.Lock()

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes capacity for one item, which is to be sent."""
        if self.semaphore is not None and not self.semaphore.acquire(block, timeout):
            return False
        with self.lock:
            self.unsent += 1
        return True

    def release(self) -> None:
        """What CPython's feeder does with an item that it could not send."""
        with self.lock:
            self.unsent -= 1
        self.taken()

    def taken(self) -> None:
        """An item was received, from whichever process it came."""
        if self.semaphore is not None:
            self.semaphore._semlock.post()

    def __reduce__(self) -> Any:
        return _Capacity, (self.semaphore,)


class _NoLock(contextlib.nullcontext[None]):
    """Where CPython keeps readers or writers apart. Each of them is one step here."""

    def acquire(self) -> bool:
        """At once."""
        return True

    def release(self) -> None:
        """Nothing was taken."""


def is_plain(item: Any) -> bool:
    """Whether none of the program's code runs when it is pickled, and nothing large is: so for few simple values."""
    if type(item) in (tuple, list):
        return len(item) <= _FEW and all(type(part) in _SIMPLE and _is_small(part) for part in item)
    return type(item) in _SIMPLE and _is_small(item)


def _is_small(item: Any) -> bool:
    return type(item) not in (bytes, str) or len(item) < _MOST_BYTES


class _Sender:
    """What a feeder sends with; many items go in one step."""

    def __init__(self, channel: Any, capacity: _Capacity) -> None:
        self._channel, self._capacity = channel, capacity

    def __call__(self, data: Any) -> None:
        self.send([bytes(data)])

    def send(self, items: list[bytes]) -> None:
        """In this order."""
        self._channel.wait_for_capacity()
        with self._capacity.lock:
            self._channel.post(items)
            self._capacity.unsent -= len(items)


class _Feeder:
    """What a queue's thread does with what was put."""

    def __init__(self, sender: _Sender, ignore_epipe: bool, onerror: Any, capacity: Any) -> None:
        self._sender, self._ignore_epipe, self._onerror, self._capacity = sender, ignore_epipe, onerror, capacity
        self._batch: list[bytes] = []

    def feed(self, buffer: Any) -> bool:
        """Sends what is there; not more than one batch takes. False: it was the last."""
        began, size, is_open = time.monotonic(), 0, True
        while buffer and is_open and size < _MOST_BYTES and time.monotonic() - began < _MOST_TIME:
            item = buffer.popleft()
            if item is queues._sentinel:  # type: ignore[attr-defined]
                is_open = False
            else:
                size += self._pickle(item)
            del item  # it must not live until the next comes
        self._send()
        return is_open

    def _pickle(self, item: Any) -> int:
        if not is_plain(item):
            # Its pickling may take long, fail, or wait for what is done with those before it.
            self._send()
        try:
            self._batch.append(reduction.dumps(item))
        except Exception as e:  # noqa: BLE001 - for whoever looks after it, as in CPython
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
        # What was not sent takes no room.
        self._capacity.release()
        self._onerror(error, item)


class Queue(queues.Queue):
    """CPython's queue with its feeder thread."""

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        bounded = 0 < maxsize < SEM_VALUE_MAX
        reader, writer = Pipe(duplex=False)
        semaphore = BoundedSemaphore(maxsize, ctx=ctx) if bounded else None
        self._restore(False, maxsize if bounded else 0, pickling_guard.is_fork(ctx), reader, writer, semaphore)

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
        """CPython's feeder, but for what is there at once: that goes together."""
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
        """The next item. Raises Empty when there is none in time."""
        if self._closed:
            message = f"Queue {self!r} is closed"
            raise ValueError(message)
        data = self._recv(block, timeout)
        if data is None:
            raise Empty
        self._sem.taken()
        return reduction.loads(data)

    def qsize(self) -> int:
        """How many items are in it, those of this process included that are still to be sent."""
        if self._maxsize:
            return self._maxsize - self._sem.semaphore.get_value()
        with self._sem.lock:
            return len(self._reader._handle) + self._sem.unsent

    def empty(self) -> bool:
        """Whether there is nothing in it."""
        with self._sem.lock:
            return not self._sem.unsent and not self._poll()

    def full(self) -> bool:
        """Whether a bounded queue has no room."""
        return bool(self._maxsize) and self._sem.semaphore._semlock._is_zero()


# It starts the feeder that it finds under the class' name.
Queue._start_thread = rebound(queues.Queue._start_thread, Queue=Queue)  # type: ignore[method-assign, attr-defined]


class JoinableQueue(Queue):
    """CPython's joinable queue; its unfinished tasks are a latch."""

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        super().__init__(maxsize, ctx=ctx)
        self._unfinished = _core.CountDownLatch(0)

    def __getstate__(self) -> Any:
        return super().__getstate__(), pickling_guard.hold(self, self._unfinished)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])
        self._unfinished = _core.CountDownLatch(0, id=state[1])

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Puts an item, which `join` waits for. Raises Full when there is no room in time."""
        if self._closed:
            message = f"Queue {self!r} is closed"
            raise ValueError(message)
        if not self._sem.acquire(block, timeout):
            raise Full
        # On its way before the item is: whoever takes that finds it counted.
        self._unfinished.add(1)
        with self._notempty:
            if self._thread is None:
                self._start_thread()
            self._buffer.append(obj)
            self._notempty.notify()

    def task_done(self) -> None:
        """One task is finished. Raises ValueError when none is unfinished."""
        try:
            self._unfinished.add(-1)
        except ValueError:
            message = "task_done() called too many times"
            raise ValueError(message) from None

    def join(self) -> None:
        """Waits until all tasks are finished."""
        self._unfinished.wait()


class SimpleQueue(queues.SimpleQueue):
    """CPython's; a channel's ends need no locks."""

    def __init__(self, *, ctx: Any = None) -> None:
        self._restore(*Pipe(duplex=False), pickling_guard.is_fork(ctx))

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

"""Counterpart of `multiprocessing.synchronize`: CPython's classes over our SemLock.

CPython composes Condition, Event and Barrier from semaphores, which would take 4 to 23 round trips a call; here each call is
one script.
"""

from __future__ import annotations

import threading
from multiprocessing import synchronize
from multiprocessing.synchronize import RECURSIVE_MUTEX, SEM_VALUE_MAX, SEMAPHORE
from typing import Any

from . import _core, config, installed
from .stdlib import public_names
from .store import pickling_guard, session

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]


class SemLock(synchronize.SemLock):
    """Base of locks and semaphores: construction and pickling."""

    def __init__(self, kind: int, value: int, maxvalue: int, *, ctx: Any = None, beside: str | None = None) -> None:
        session.ensure()
        self._is_fork_ctx = installed.is_fork(ctx)
        is_robust = config.robust_locks() == "1"
        self._semlock = _core.SemLock(kind, value, maxvalue, beside=beside, robust=is_robust)
        self._make_methods()

    def __getstate__(self) -> Any:
        ident = pickling_guard.hold(self, self._semlock, self._is_fork_ctx)
        return self._semlock.kind, self._semlock.maxvalue, ident, self._is_fork_ctx

    def __setstate__(self, state: Any) -> None:
        kind, maxvalue, ident, self._is_fork_ctx = state
        self._semlock = _core.SemLock(kind, 0, maxvalue, id=ident)
        self._make_methods()


class Semaphore(SemLock, synchronize.Semaphore):
    """CPython's class over our SemLock."""

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        SemLock.__init__(self, SEMAPHORE, value, SEM_VALUE_MAX, ctx=ctx)


class BoundedSemaphore(Semaphore, synchronize.BoundedSemaphore):  # type: ignore[misc]
    """CPython's class over our SemLock."""

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        SemLock.__init__(self, SEMAPHORE, value, value, ctx=ctx)


class Lock(SemLock, synchronize.Lock):
    """CPython's class over our SemLock."""

    def __init__(self, *, ctx: Any = None) -> None:
        SemLock.__init__(self, SEMAPHORE, 1, 1, ctx=ctx)


class RLock(SemLock, synchronize.RLock):
    """CPython's class over our SemLock. `beside`: the id of an object whose cluster slot the lock is to share."""

    def __init__(self, *, ctx: Any = None, beside: str | None = None) -> None:
        SemLock.__init__(self, RECURSIVE_MUTEX, 1, 1, ctx=ctx, beside=beside)


class _Count:
    """Stands for one of the semaphores in which CPython's condition counts its sleepers."""

    def __init__(self, get_value: Any) -> None:
        self.get_value = get_value


class Condition(synchronize.Condition):
    """CPython's interface; the store keeps the waiters and wakes them."""

    def __init__(self, lock: Any = None, *, ctx: Any = None) -> None:
        lock = lock or RLock(ctx=ctx)
        self._restore(lock, _core.Condition(lock._semlock))

    def _restore(self, lock: Any, condition: Any) -> None:
        self._lock, self._condition = lock, condition
        self._make_methods()

    def __getstate__(self) -> Any:
        return self._lock, pickling_guard.hold(self, self._condition)

    def __setstate__(self, state: Any) -> None:
        lock, ident = state
        self._restore(lock, _core.Condition(lock._semlock, id=ident))

    def wait(self, timeout: float | None = None) -> bool:
        """Releases the lock, waits for a notification, acquires the lock again. Returns False on timeout."""
        assert self._lock._semlock._is_mine(), "must acquire() condition before using wait()"  # noqa: S101 - CPython's
        return self._condition.wait(self._lock._semlock, timeout)

    def notify(self, n: int = 1) -> None:
        """Wakes up to n waiters."""
        assert self._lock._semlock._is_mine(), "lock is not owned"  # noqa: S101 - CPython's
        self._condition.notify(n)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock!r}, {self._condition.waiting()})>"

    @property
    def _sleeping_count(self) -> _Count:
        return _Count(self._condition.waiting)

    @property
    def _woken_count(self) -> _Count:
        # A sleeper leaves the queue in the step that wakes it, so no sleeper is both woken and still counted.
        return _Count(lambda: 0)

    @property
    def _wait_semaphore(self) -> _Count:
        return _Count(lambda: 0)


class Event(synchronize.Event):
    """CPython's interface over a latch. The event is set when the count is 0."""

    def __init__(self, *, ctx: Any = None) -> None:
        session.ensure()
        self._is_fork_ctx = installed.is_fork(ctx)
        self._latch = _core.CountDownLatch(1)

    def __getstate__(self) -> tuple[str, bool]:
        return pickling_guard.hold(self, self._latch, self._is_fork_ctx), self._is_fork_ctx

    def __setstate__(self, state: tuple[str, bool]) -> None:
        ident, self._is_fork_ctx = state
        self._latch = _core.CountDownLatch(0, id=ident)

    def is_set(self) -> bool:
        """Whether the event is set."""
        return self._latch.is_zero()

    def set(self) -> None:
        """Sets the event and wakes all waiters."""
        self._latch.put(0)

    def clear(self) -> None:
        """Clears the event."""
        self._latch.put(1)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the event is set. Returns False on timeout."""
        return self._latch.wait(timeout)


class Barrier(threading.Barrier):
    """The interface of `threading.Barrier`, as in CPython."""

    def __init__(self, parties: int, action: Any = None, timeout: float | None = None, *, ctx: Any = None) -> None:
        session.ensure()
        self._restore(parties, action, timeout, installed.is_fork(ctx), _core.Barrier(parties))

    def _restore(self, parties: int, action: Any, timeout: float | None, fork: bool, barrier: Any) -> None:
        self._parties, self._action, self._timeout = parties, action, timeout
        self._is_fork_ctx, self._barrier = fork, barrier

    def __getstate__(self) -> Any:
        ident = pickling_guard.hold(self, self._barrier, self._is_fork_ctx)
        return self._parties, self._action, self._timeout, self._is_fork_ctx, ident

    def __setstate__(self, state: Any) -> None:
        parties, action, timeout, fork, ident = state
        self._restore(parties, action, timeout, fork, _core.Barrier(parties, id=ident))

    def wait(self, timeout: float | None = None) -> int:
        """Waits for all parties and returns the index of this one. Raises BrokenBarrierError."""
        timeout = self._timeout if timeout is None else timeout
        index, how = self._barrier.wait(self._action is not None, timeout)
        if how == "act":
            try:
                self._action()
            except BaseException:
                self._barrier.end("break")
                raise
            self._barrier.end("go")
        elif how == "broken":
            raise threading.BrokenBarrierError
        return index

    def reset(self) -> None:
        """Breaks the current wait and resets the barrier."""
        self._barrier.end("reset")

    def abort(self) -> None:
        """Breaks the barrier until it is reset."""
        self._barrier.end("break")

    @property
    def n_waiting(self) -> int:
        """The number of waiting parties."""
        waiting, _ = self._barrier.state()
        return waiting

    @property
    def broken(self) -> bool:
        """Whether the barrier is broken."""
        _, is_broken = self._barrier.state()
        return is_broken


public_names.complete(__name__)

"""As `multiprocessing.synchronize`: CPython's classes over our SemLock; Condition, Event and Barrier are one script a call.

CPython composes the latter three from semaphores, at 4 to 23 round trips a call; here each call is one.
"""

from __future__ import annotations

import threading
from multiprocessing import synchronize
from multiprocessing.synchronize import RECURSIVE_MUTEX, SEM_VALUE_MAX, SEMAPHORE
from typing import Any

from . import _core
from .stdlib import public_names
from .store import pickling_guard, session

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]


class SemLock(synchronize.SemLock):
    """Base of locks and semaphores: what is made, and what is pickled."""

    def __init__(self, kind: int, value: int, maxvalue: int, *, ctx: Any = None, beside: str | None = None) -> None:
        session.ensure()
        self._is_fork_ctx = pickling_guard.is_fork(ctx)
        self._semlock = _core.SemLock(kind, value, maxvalue, beside=beside)
        self._make_methods()

    def __getstate__(self) -> Any:
        ident = pickling_guard.hold(self, self._semlock, self._is_fork_ctx)
        return self._semlock.kind, self._semlock.maxvalue, ident, self._is_fork_ctx

    def __setstate__(self, state: Any) -> None:
        kind, maxvalue, ident, self._is_fork_ctx = state
        self._semlock = _core.SemLock(kind, 0, maxvalue, id=ident)
        self._make_methods()


class Semaphore(SemLock, synchronize.Semaphore):
    """CPython's, over our SemLock."""

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        SemLock.__init__(self, SEMAPHORE, value, SEM_VALUE_MAX, ctx=ctx)


class BoundedSemaphore(Semaphore, synchronize.BoundedSemaphore):  # type: ignore[misc]
    """CPython's, over our SemLock."""

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        SemLock.__init__(self, SEMAPHORE, value, value, ctx=ctx)


class Lock(SemLock, synchronize.Lock):
    """CPython's, over our SemLock."""

    def __init__(self, *, ctx: Any = None) -> None:
        SemLock.__init__(self, SEMAPHORE, 1, 1, ctx=ctx)


class RLock(SemLock, synchronize.RLock):
    """CPython's, over our SemLock; `beside` the object whose slot of a cluster it is to share."""

    def __init__(self, *, ctx: Any = None, beside: str | None = None) -> None:
        SemLock.__init__(self, RECURSIVE_MUTEX, 1, 1, ctx=ctx, beside=beside)


class _Count:
    """One of the counters in which CPython's condition keeps its sleepers."""

    def __init__(self, get_value: Any) -> None:
        self.get_value = get_value


class Condition(synchronize.Condition):
    """CPython's face; waiting and waking are the store's."""

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
        """Gives the lock back, waits for a notification, takes the lock again. False when the time was over first."""
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
        # A sleeper leaves the line in the step that wakes it: none is ever woken and still counted as sleeping.
        return _Count(lambda: 0)

    @property
    def _wait_semaphore(self) -> _Count:
        return _Count(lambda: 0)


class Event(synchronize.Event):
    """CPython's face over a latch: 0 is set."""

    def __init__(self, *, ctx: Any = None) -> None:
        session.ensure()
        self._is_fork_ctx = pickling_guard.is_fork(ctx)
        self._latch = _core.CountDownLatch(1)

    def __getstate__(self) -> tuple[str, bool]:
        return pickling_guard.hold(self, self._latch, self._is_fork_ctx), self._is_fork_ctx

    def __setstate__(self, state: tuple[str, bool]) -> None:
        ident, self._is_fork_ctx = state
        self._latch = _core.CountDownLatch(0, id=ident)

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._latch.is_zero()

    def set(self) -> None:
        """Wakes everybody who waits."""
        self._latch.put(0)

    def clear(self) -> None:
        """Unsets it."""
        self._latch.put(1)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set. False when the time was over first."""
        return self._latch.wait(timeout)


class Barrier(threading.Barrier):
    """`threading.Barrier`'s face, as CPython's."""

    def __init__(self, parties: int, action: Any = None, timeout: float | None = None, *, ctx: Any = None) -> None:
        session.ensure()
        self._restore(parties, action, timeout, pickling_guard.is_fork(ctx), _core.Barrier(parties))

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
        """Waits for all parties; this one's index among them. Raises BrokenBarrierError."""
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
        """Breaks the wait of those who wait, and begins again."""
        self._barrier.end("reset")

    def abort(self) -> None:
        """Breaks it for everybody, until it is reset."""
        self._barrier.end("break")

    @property
    def n_waiting(self) -> int:
        """How many parties wait."""
        return self._barrier.state()[0]

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._barrier.state()[1]


public_names.complete(__name__)

"""A block of shared memory for one ctypes object, like `heap.BufferWrapper` in CPython."""

from __future__ import annotations

import bisect
import os
import threading
import weakref

from serverless_mp import _core

from . import pickling_guard, session

# The regions of this process that are in use, by their addresses; and these addresses in order, made when they are needed after
# the last new region.
_living: weakref.WeakValueDictionary[int, _core.Region] = weakref.WeakValueDictionary()
_in_order: list[int] | None = None
_lock = threading.RLock()


def new(size: int) -> _core.Region:
    """A new region of `size` bytes, which are zero."""
    return _noted(_core.Region(size))


def rebuild(ident: str, size: int) -> _core.Region:
    """The region of another process: in a child, with the content that came with the launch."""
    return _noted(_core.Region(size, id=ident))


def _noted(region: _core.Region) -> _core.Region:
    global _in_order  # noqa: PLW0603 - one per process
    with _lock:
        _living[region.address] = region
        _in_order = None
    return region


def at(address: int) -> _core.Region | None:
    """The region in whose memory an address lies."""
    global _in_order  # noqa: PLW0603 - one per process
    with _lock:
        if _in_order is None:
            _in_order = sorted(_living)
        place = bisect.bisect_right(_in_order, address)
        region = _living.get(_in_order[place - 1]) if place else None
    return region if region is not None and address < region.address + region.size else None


def _after_fork() -> None:
    """In a child of the program's own `os.fork()`: another thread may have held the lock."""
    global _lock  # noqa: PLW0603 - one per process
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


class Block:
    """A region that holds one object, as a buffer."""

    def __init__(self, size: int) -> None:
        session.ensure()
        self._region = new(size)

    @property
    def region_id(self) -> str:
        """The id of the region."""
        return self._region.id

    def create_memoryview(self) -> memoryview:
        """The memory of the region."""
        return memoryview(self._region)

    def __getstate__(self) -> tuple[str, int]:
        return pickling_guard.hold(self, self._region), self._region.size

    def __setstate__(self, state: tuple[str, int]) -> None:
        self._region = rebuild(*state)

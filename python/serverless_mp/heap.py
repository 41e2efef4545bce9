"""Counterpart of `multiprocessing.heap`: CPython's allocator, whose arenas are regions of the store."""

from __future__ import annotations

from multiprocessing.heap import BufferWrapper
from multiprocessing.reduction import ForkingPickler
from typing import Any

from .stdlib import public_names
from .store import pickling_guard, session
from .store.region import new, rebuild

__all__ = ["BufferWrapper"]


class Arena:
    """A span of shared memory from which the heap allocates blocks."""

    def __init__(self, size: int, fd: int = -1) -> None:  # noqa: ARG002 - CPython's signature
        session.ensure()
        self.__setstate__(new(size))

    def __setstate__(self, region: Any) -> None:
        self.size = region.size
        self.region = region
        self.buffer = memoryview(region)


def _reduce_arena(arena: Arena) -> Any:
    return _rebuild_arena, (pickling_guard.hold(arena, arena.region), arena.size)


def _rebuild_arena(ident: str, size: int) -> Arena:
    arena = Arena.__new__(Arena)
    arena.__setstate__(rebuild(ident, size))
    return arena


ForkingPickler.register(Arena, _reduce_arena)
public_names.complete(__name__)

"""A block of shared memory for one ctypes object, like `heap.BufferWrapper` in CPython."""

from __future__ import annotations

import weakref

from serverless_mp import _core

from . import pickling_guard, session

# The regions of this process that are in use.
_living: weakref.WeakSet[_core.Region] = weakref.WeakSet()


def new(size: int) -> _core.Region:
    """A new region of `size` bytes, which are zero."""
    region = _core.Region(size)
    _living.add(region)
    return region


def rebuild(ident: str, size: int) -> _core.Region:
    """The region of another process: in a child, with the content that came with the launch."""
    region = _core.Region(size, id=ident)
    _living.add(region)
    return region


def at(address: int) -> _core.Region | None:
    """The region in whose memory an address lies."""
    for region in _living.copy():
        if region.address <= address < region.address + region.size:
            return region
    return None


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

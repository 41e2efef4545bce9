"""A block of shared memory for one ctypes object, like `heap.BufferWrapper` in CPython."""

from __future__ import annotations

from typing import Any

from serverless_mp import _core

from . import pickling_guard, session


def rebuild(ident: str, size: int) -> Any:
    """In the child: the region, with the content that came with the launch."""
    return _core.Region(size, id=ident)


class Block:
    """A region that holds one object, as a buffer."""

    def __init__(self, size: int) -> None:
        session.ensure()
        self._region = _core.Region(size)

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

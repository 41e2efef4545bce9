"""As `multiprocessing.shared_memory`: blocks with a name, whose content is in the store.

A name stands for its block from `create` to `unlink`, in all processes of the program, on every machine; the block lives as
long as anyone has it open. Between two processes writes become visible as those to an `Array` do: with whatever synchronises
them (a lock, a message, a process' start or end), and with `close()` and the next attaching.
"""

from __future__ import annotations

import errno
import os
from multiprocessing import shared_memory
from typing import Any

from . import _core
from .stdlib import public_names
from .stdlib.rebind import rebound
from .store import session

__all__ = ["ShareableList", "SharedMemory"]


class SharedMemory(shared_memory.SharedMemory):
    """CPython's, over a region. `track` is taken and has no meaning here: with the program all its blocks end.

    Raises FileExistsError where the name to create is taken, FileNotFoundError where there is none to attach to or unlink.
    """

    def __init__(self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True) -> None:  # noqa: ARG002
        if not size >= 0:
            message = "'size' must be a positive integer"
            raise ValueError(message)
        if create:
            self._flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
            if size == 0:
                message = "'size' must be a positive number different from zero"
                raise ValueError(message)
        if name is None and not self._flags & os.O_EXCL:
            message = "'name' can only be None if create=True"
            raise ValueError(message)
        _check_name(name or "")
        session.ensure()
        self._region: Any = None
        while self._region is None:
            self._name = shared_memory._make_filename() if name is None else f"/{name}"  # type: ignore[attr-defined]
            self._open(size, is_named=name is not None)
        self._size: int = self._region.size
        self._buf: Any = memoryview(self._region)

    def _open(self, size: int, is_named: bool) -> None:
        """Finds or makes the region; leaves it out where a name that nobody asked for is taken."""
        if not self._flags & os.O_EXCL and (found := _core.find_name(self._name)):
            try:
                self._region = _core.Region(found[1], id=found[0])
                self._region.sync()
            except ConnectionError:
                if _core.find_name(self._name) == found:
                    raise
                self._region = None  # it was unlinked and left in between
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._name) from None
        elif not self._flags & os.O_CREAT:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._name)
        else:
            region = _core.Region(size)
            region.sync()  # whoever has the name may write to it
            if _core.bind_name(self._name, region.id, size):
                self._region = region
            elif is_named:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._name)

    def close(self) -> None:
        """Gives up this access to the block. Raises BufferError while a view of `buf` exists."""
        if getattr(self, "_region", None) is None:
            return
        if self._buf is not None:
            self._buf.release()
            self._buf = None
        if self._region.exports:
            message = "cannot close exported pointers exist"  # as mmap says it
            raise BufferError(message)
        region, self._region = self._region, None
        if _core.is_open():
            region.sync()

    def unlink(self) -> None:
        """Takes the name away: once, by whichever process. After the end of the session there are no names any more."""
        _check_name(self._name)
        if _core.is_open() and not _core.unbind_name(self._name):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._name)


def _check_name(name: str) -> None:
    if "\0" in name:
        message = "embedded null character"
        raise ValueError(message)


class ShareableList(shared_memory.ShareableList):  # type: ignore[type-arg]
    """CPython's, over our memory."""

    __init__ = rebound(shared_memory.ShareableList.__init__, SharedMemory=SharedMemory)


public_names.complete(__name__)

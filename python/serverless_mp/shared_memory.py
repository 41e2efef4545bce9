"""Counterpart of `multiprocessing.shared_memory`: named blocks whose content is in the store.

A name refers to its block from `create` to `unlink`, in all processes of the program, on every machine. The block exists as
long as any process has it open. Writes become visible to other processes as those to an `Array` do: with whatever synchronises
the processes (a lock, a message, the start or end of a process), and with `close()` and the next attach.
"""

from __future__ import annotations

import errno
import os
from multiprocessing import shared_memory
from typing import Any

from . import _core
from .stdlib import public_names
from .stdlib.rebind import rebound
from .store import region, session

__all__ = ["ShareableList", "SharedMemory"]

# The longest name of a file, in bytes.
_LONGEST = 255


class SharedMemory(shared_memory.SharedMemory):
    """CPython's class over a region. `track` is accepted and ignored: all blocks end with the program.

    Raises FileExistsError if the name to create is taken, FileNotFoundError if there is no block to attach to or to unlink.
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
        if name is not None:
            _entry("/" + name)
        session.ensure()
        self._region: Any = None
        while self._region is None:
            self._name = shared_memory._make_filename() if name is None else f"/{name}"  # type: ignore[attr-defined]
            self._open(size, is_named=name is not None)
        self._size: int = self._region.size
        self._buf: Any = memoryview(self._region)

    def _open(self, size: int, is_named: bool) -> None:
        """Finds or creates the region. Leaves it None if a generated name is already taken, so that the caller tries
        another.
        """
        entry = _entry(self._name)
        if not self._flags & os.O_EXCL and (found := _core.find_name(entry)):
            try:
                self._region = region.rebuild(*found)
                self._region.sync()
            except ConnectionError:
                if _core.find_name(entry) == found:
                    raise
                self._region = None  # the block was unlinked and its last user left in between
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._name) from None
        elif not self._flags & os.O_CREAT:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._name)
        else:
            made = region.new(size)
            made.sync()  # any process that has the name may write to the block
            if _core.bind_name(entry, made.id, size):
                self._region = made
            elif is_named:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._name)

    def close(self) -> None:
        """Closes this access to the block. Raises BufferError while a view of `buf` exists."""
        if getattr(self, "_region", None) is None:
            return
        if self._buf is not None:
            self._buf.release()
            self._buf = None
        if self._region.exports:
            message = "cannot close exported pointers exist"  # as mmap says it
            raise BufferError(message)
        left, self._region = self._region, None
        if _core.is_open():
            left.sync()

    def unlink(self) -> None:
        """Removes the name; any process may do so, once. After the end of the session there are no names."""
        entry = _entry(self._name)
        if _core.is_open() and not _core.unbind_name(entry):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._name)


def _entry(name: str) -> str:
    """The entry that a name stands for: as `shm_open` of the C library, which strips all slashes at the beginning.

    Raises OSError for a name that cannot be one of a file, ValueError for a null character.
    """
    if "\0" in name:
        message = "embedded null character"
        raise ValueError(message)
    entry = name.lstrip("/")
    if entry in ("", ".", "..") or "/" in entry or len(os.fsencode(entry)) > _LONGEST:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    return f"/{entry}"


class ShareableList(shared_memory.ShareableList):  # type: ignore[type-arg]
    """CPython's class over our shared memory."""

    __init__ = rebound(shared_memory.ShareableList.__init__, SharedMemory=SharedMemory)


public_names.complete(__name__)

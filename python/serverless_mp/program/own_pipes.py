"""The pipes that the program has made by `os.pipe()`: a forked process has them under the same numbers."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_pipe, _pipe2 = os.pipe, getattr(os, "pipe2", None)

# As many descriptors fit into one message to the zygote, with those of other files.
MOST = 128

# Each descriptor, with the device and the inode of its pipe: the number may be that of another file by now.
_made: dict[int, tuple[int, int]] = {}


def pipe() -> tuple[int, int]:
    """Like `os.pipe`."""
    return _noted(_pipe())


def pipe2(flags: int, /) -> tuple[int, int]:
    """Like `os.pipe2`."""
    make: Callable[[int], tuple[int, int]] = _pipe2  # type: ignore[assignment]
    return _noted(make(flags))


def _noted(ends: tuple[int, int]) -> tuple[int, int]:
    """Notes the pipe, unless a module of the standard library or of this package has made it for itself."""
    name = str(sys._getframe(2).f_globals.get("__name__")).partition(".")[0]
    if name not in sys.stdlib_module_names and name != "serverless_mp":
        _made.update((end, _identity(end)) for end in ends)
    return ends


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return (found.st_dev, found.st_ino) if stat.S_ISFIFO(found.st_mode) else (0, 0)


def open_ends() -> list[int]:
    """The descriptors of these pipes that are still open, `MOST` at most."""
    for fd, identity in list(_made.items()):
        try:
            is_same = _identity(fd) == identity
        except OSError:
            is_same = False
        if not is_same:
            del _made[fd]
    return [*_made][:MOST]


def take(numbers: list[int], received: list[int]) -> None:
    """In a worker: received descriptors get the numbers that they have in the program, unless a library uses a number here."""
    for fd, one in zip(numbers, received, strict=True):
        try:
            os.fstat(fd)
        except OSError:
            os.dup2(one, fd, inheritable=False)
            _made[fd] = _identity(fd)
        os.close(one)


def has(fd: int) -> bool:
    """Whether the number is that of such a pipe."""
    return fd in _made


# Replacements of the interpreter's functions.
REPLACED: tuple[tuple[Any, str, Any], ...] = ((os, "pipe", pipe), *(((os, "pipe2", pipe2),) if _pipe2 is not None else ()))

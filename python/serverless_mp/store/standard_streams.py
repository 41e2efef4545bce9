"""The descriptors 0 to 2 of a program that was started without them, or has closed them.

A new descriptor gets the lowest free number. A connection to the store with the number of a standard stream would get what the
program writes to that stream. So each of the three numbers that is free is taken by a descriptor that refuses reads and writes,
as a closed one does.
"""

from __future__ import annotations

import fcntl
import os
import stat

DESCRIPTORS = (0, 1, 2)


def reserve() -> None:
    """Takes the numbers of standard streams that are free. Executed programs do not inherit them."""
    for fd in DESCRIPTORS:
        if not _exists(fd):
            shut(fd)


def shut(fd: int) -> None:
    """Closes a standard stream, and keeps its number."""
    nothing = os.open(os.devnull, _useless_mode(fd))
    if nothing != fd:
        os.dup2(nothing, fd, inheritable=False)
        os.close(nothing)


def is_open(fd: int) -> bool:
    """Whether a standard stream is open. In a program without it the number may be reserved, which does not count."""
    if not _exists(fd):
        return False
    mode, status = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE, os.fstat(fd)
    is_nothing = stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev
    return not (is_nothing and mode == _useless_mode(fd))


def _useless_mode(fd: int) -> int:
    return os.O_RDONLY if fd else os.O_WRONLY


def _exists(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True

"""The descriptors 0 to 2 of a program that has begun without them.

A new descriptor gets the lowest free number. A connection to the store with the number of a standard stream would get what the
program writes to that stream. So each of the three numbers that is free is taken by the end of a pipe that refuses reads (0) or
writes (1 and 2), as a closed descriptor does.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys

DESCRIPTORS = (0, 1, 2)


def reserve() -> None:
    """Takes the numbers of standard streams that are free. Executed programs do not inherit them."""
    for fd in DESCRIPTORS:
        if not _exists(fd):
            end = _end_of_a_pipe(fd)
            taken = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, fd)
            os.close(end)
            if taken != fd:  # another thread has opened something meanwhile
                os.close(taken)


def shut(fd: int) -> None:
    """Closes a standard stream, and keeps its number."""
    end = _end_of_a_pipe(fd)
    os.dup2(end, fd, inheritable=False)
    os.close(end)


def is_open(fd: int) -> bool:
    """Whether a standard stream is open. If its number is only reserved, it is not."""
    if not _exists(fd):
        return False
    is_end = stat.S_ISFIFO(os.fstat(fd).st_mode)
    return not (is_end and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == (os.O_RDONLY if fd else os.O_WRONLY))


def tell(text: str) -> None:
    """Writes to standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(text)


def _end_of_a_pipe(fd: int) -> int:
    """The end that is of no use at this number; the other one is closed. It has a number of its own."""
    ends = os.pipe()
    end = fcntl.fcntl(ends[0] if fd else ends[1], fcntl.F_DUPFD_CLOEXEC, len(DESCRIPTORS))
    for one in ends:
        os.close(one)
    return end


def _exists(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True

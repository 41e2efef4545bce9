"""The limits that many processes may reach: descriptors of this process, connections of the store."""

from __future__ import annotations

import errno
import os
import resource

from serverless_mp import _core, config

# The descriptors of this process for each local process that it has started: a sentinel, and the zygote's connection.
_DESCRIPTORS = 3
# The connections of a process: one of its main thread, and one by which it notices that the session is gone.
_CONNECTIONS = 2


def raise_descriptors() -> bool:
    """Raises the limit of descriptors as far as allowed. Returns False if nothing has changed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS reports a hard limit that it does not grant
        return False
    return True


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:  # a system without /proc
        return 0


def check(processes: int) -> None:
    """Raises OSError, with both numbers, if this many processes cannot run at once. One round trip."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _open_descriptors() + _DESCRIPTORS * processes
    if config.launcher() == "local" and limit != resource.RLIM_INFINITY and needed > limit:
        message = (
            f"{processes} processes need about {needed} file descriptors in this process, and its limit is {limit}: "
            "raise it (`ulimit -n`), or have fewer processes"
        )
        raise OSError(errno.EMFILE, message)
    room = _core.store_connections()
    if room is None:
        return
    connected, most = room
    needed = connected + _CONNECTIONS * processes
    if needed > most:
        message = (
            f"{processes} processes need about {needed} connections to the store, and it takes {most}: raise its maxclients "
            "(and the limit of descriptors with which it is started), or have fewer processes"
        )
        raise OSError(errno.EMFILE, message)

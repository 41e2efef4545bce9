"""The limits that many processes at once would meet: of descriptors here, of connections there."""

from __future__ import annotations

import errno
import os
import resource

from serverless_mp import _core, config

# Of this process, for each local process that it has started: its sentinel, and its end as the zygote tells it.
_DESCRIPTORS = 3
# Of a process: its main thread's, and the one by which it notices that the session is gone.
_CONNECTIONS = 2


def raise_descriptors() -> bool:
    """Gives this process as many descriptors as it may have. False where nothing has changed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS names a hard limit that it does not grant
        return False
    return True


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:  # a system without it
        return 0


def check(processes: int) -> None:
    """Raises OSError, with both numbers, where so many processes cannot be there at once. One round trip."""
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

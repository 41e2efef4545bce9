"""The state that a worker takes over from its caller, as a forked child would: process group, streams, environment, limits."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from typing import Any

from serverless_mp.store import standard_streams


def take(request: dict[str, Any], fds: list[int], environment: dict[str, str]) -> None:
    """Makes this process a child of its caller in all that a child inherits. `environment`: the one that it has now."""
    if not request["group"]:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
    _take_streams(request, fds)
    # Only differences are set: each change is a system call.
    wanted = request["environment"]
    for name in environment.keys() - wanted.keys():
        os.environ.pop(name, None)
    for name, value in wanted.items() - environment.items():
        os.environ[name] = value
    if wanted.get("TZ") != environment.get("TZ"):
        time.tzset()
    os.umask(request["umask"])
    with contextlib.suppress(OSError):
        os.chdir(request["directory"])
    _take_limits(request)
    signal.pthread_sigmask(signal.SIG_SETMASK, request["mask"])


def _take_streams(request: dict[str, Any], fds: list[int]) -> None:
    streams = request["streams"]
    for stream, fd in zip(streams, fds, strict=False):
        os.dup2(fd, stream)
        os.close(fd)
    if 0 not in streams:
        standard_streams.shut(0)
        sys.stdin = None  # type: ignore[assignment]
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if descriptor not in streams:
            standard_streams.shut(descriptor)
            setattr(sys, name, None)
        else:
            stream = getattr(sys, name)
            is_prompt = descriptor == 2 or os.isatty(descriptor) or request.get("line_buffered")  # noqa: PLR2004 - standard error
            if stream.line_buffering != bool(is_prompt):
                stream.reconfigure(line_buffering=bool(is_prompt))


def _take_limits(request: dict[str, Any]) -> None:
    """Applies the limits as far as this user may: a parent cannot pass on what it no longer has."""
    for kind, limit in request["limits"].items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, limit)
    if request["affinity"] is not None:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, request["affinity"])
    if request["nice"] is not None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, request["nice"])

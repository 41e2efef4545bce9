"""The session: opened when the first object is made, closed after the last child was joined."""

from __future__ import annotations

import atexit
import contextlib
import os
import resource
import shutil
import tempfile
import threading
from multiprocessing import util

from . import _core, config

_lock = threading.Lock()
_directory: str | None = None
_owner = 0


def ensure() -> None:
    """Opens a session unless this process has one.

    Raises ConnectionError where the store cannot be reached, ValueError for settings that cannot be used.
    """
    if _core.is_open():
        return
    with _lock:
        if not _core.is_open():
            _open()


def directory() -> str:
    """A directory of mode 0700 for this session's sockets. Short: their paths end at 104 bytes."""
    global _directory  # noqa: PLW0603 - one per process
    if _directory is None:
        _directory = tempfile.mkdtemp(prefix="smp-", dir=_short_tmp())
    return _directory


def drop_directory() -> None:
    """Removes it; the next one has another name."""
    global _directory  # noqa: PLW0603 - one per process
    if _directory is not None:
        shutil.rmtree(_directory, ignore_errors=True)
        _directory = None


def _short_tmp() -> str | None:
    tmp = tempfile.gettempdir()
    return tmp if len(tmp) < 70 else "/tmp"  # noqa: PLR2004, S108 - mkdtemp makes the name unpredictable


def _open() -> None:
    global _owner  # noqa: PLW0603 - one per process
    url = config.redis_url()
    if url is not None:
        _core.open_session(url, config.lease() * 1000)
    else:
        from . import private  # noqa: PLC0415 - only where it is needed

        _core.open_session(private.start(directory()), 0)
    _owner = os.getpid()
    _raise_file_limit()
    os.register_at_fork(after_in_child=_after_fork)


def close_at_exit() -> None:
    """After the program's own exit handlers, which may use what is in it, and after CPython's, which joins the children."""
    # Handlers run last in, first out.
    atexit.unregister(util._exit_function)  # type: ignore[attr-defined]
    atexit.register(close)
    atexit.register(util._exit_function)  # type: ignore[attr-defined]


def _after_fork() -> None:
    from . import private, zygote  # noqa: PLC0415 - only where it is needed

    _core.after_fork()
    zygote.forget()
    private.forget()


def _raise_file_limit() -> None:
    """A connection for each thread, a sentinel for each process: as many descriptors as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS names a hard limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def close() -> None:
    """Ends the session: the keys, the private store, the parent of local workers."""
    if _owner != os.getpid():
        return
    from . import aws, private, summary, zygote  # noqa: PLC0415 - only where it is needed

    zygote.stop()
    aws.report()
    if _core.is_open():
        try:
            summary.write()
            _core.close_session()
        except (OSError, RuntimeError) as e:
            util.info("the session's keys are left to their lease: %s", e)
    private.stop()
    drop_directory()

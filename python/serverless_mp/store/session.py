"""The session: opened when the first object is created, closed after the last child was joined.

Children of the program's own `os.fork()` share it; the last process of this family ends it.
"""

from __future__ import annotations

import atexit
import os
import re
import resource
import shutil
import threading
from multiprocessing import util
from tempfile import gettempdir, mkdtemp  # imported by name: the program may have put mocks in their places
from typing import TYPE_CHECKING, NamedTuple

from serverless_mp import _core, config

from . import limits, standard_streams
from .waits import IDLE, WAITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from . import embedded

_lock = threading.Lock()
# The limit of open files before it was raised, and the limit after that.
_raised: tuple[tuple[int, int], tuple[int, int]] | None = None
_directory: str | None = None
# The process that opened the session, and its private store, if it has one.
_owner = 0
_store: embedded.Store | None = None
# A pipe that no process of the family writes to. Its end of file means that the last other process is gone.
_family: tuple[int, int] | None = None
# Characters that can stand unescaped in a socket's path, a server's configuration and an address.
_PLAIN = re.compile(r"[\w./+@=-]{,70}", re.ASCII)


def ensure() -> None:
    """Opens a session unless this process has one.

    Raises ConnectionError if the store cannot be reached, ValueError for settings that cannot be used.
    """
    if _core.is_open():
        return
    with _lock:
        if not _core.is_open():
            _open()


class Info(NamedTuple):
    """The session, and the id of this process."""

    session: str
    key: bytes
    url: str
    # Time to live of the session's keys in ms; 0 means no limit.
    ttl: int
    seal_memory: bool
    process: str


def info() -> Info:
    """The open session. Raises RuntimeError if none is open."""
    return Info(**_core.session_info())


def try_store() -> None:
    """Raises ConnectionError if the store refuses this client, RuntimeError if no private store can be started."""
    url = config.redis_url()
    if url is not None:
        _core.try_store(url)
    else:
        from . import embedded  # noqa: PLC0415 - only where it is needed

        embedded.find_server()


def directory() -> str:
    """A directory of mode 0700 for the session's sockets. Its path is short and plain: sockets allow 104 bytes."""
    global _directory  # noqa: PLW0603 - one per process
    if _directory is None or not os.path.isdir(_directory):
        _directory = mkdtemp(prefix="smp-", dir=_plain_tmp())
    return _directory


def drop_directory() -> None:
    """Removes the directory. The next one gets another name."""
    global _directory  # noqa: PLW0603 - one per process
    if _directory is not None:
        shutil.rmtree(_directory, ignore_errors=True)
        _directory = None


def _plain_tmp() -> str | None:
    tmp = gettempdir()
    return tmp if _PLAIN.fullmatch(tmp) else "/tmp"  # noqa: S108 - mkdtemp makes the name unpredictable


def _open() -> None:
    global _owner, _family, _store  # noqa: PLW0603 - one per process
    standard_streams.reserve()
    for problem in config.unknown():
        standard_streams.tell(f"serverless_mp: {problem}\n")
    config.check()
    if config.launcher() == "native":
        name = config.launcher.name
        message = f"{name}=native is for install() and `serverless-mp run`, whose multiprocessing is CPython's; this is ours"
        raise RuntimeError(message)
    url, seal_memory = config.redis_url(), config.seal_memory() == "1"
    if url is not None:
        needs_persistence = config.needs_persistence() == "1"
        _core.open_session(url, config.lease() * 1000, seal_memory=seal_memory, needs_persistence=needs_persistence)
    else:
        from . import embedded  # noqa: PLC0415 - only where it is needed

        _store = embedded.Store(directory())
        _core.open_session(_store.url, 0, seal_memory=seal_memory)
    begin_process()
    _owner = os.getpid()
    _family = os.pipe()
    _raise_file_limit()


def close_at_exit() -> None:
    """Closes the session after the program's exit handlers, which may use it, and CPython's, which joins children."""
    # Handlers run last in, first out.
    atexit.unregister(util._exit_function)  # type: ignore[attr-defined]
    atexit.register(close)
    atexit.register(util._exit_function)  # type: ignore[attr-defined]


# Functions called at the end of the session: those that stop workers, with `wait`; then those that report on the run.
_stop: list[Callable[..., None]] = []
_report: list[Callable[[], None]] = []


def stop_with(stop: Callable[..., None]) -> None:
    """Registers `stop(wait=...)`, to be called when this process no longer uses the session."""
    _stop.append(stop)


def report_with(report: Callable[[], None]) -> None:
    """Registers `report()`, to be called before the session is closed, in the process that opened it."""
    _report.append(report)


_has_begun = False


def begin_process() -> None:
    """Prepares this process, which has just opened or joined a session."""
    global _has_begun  # noqa: PLW0603 - one per process, and its forks have it
    if not _has_begun:
        _core.note_waits(WAITS, IDLE)
        # A child of this process' own `os.fork()` is a process of the session, and not this one once more. Objects that it
        # inherits must not be private to one process.
        os.register_at_fork(before=_core.before_fork, after_in_parent=_core.after_fork_in_parent, after_in_child=_after_fork)
        _has_begun = True


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = threading.Lock()
    _core.after_fork()


def _is_last() -> bool:
    """Whether no other process of the family is left. This process leaves the family."""
    global _family
    if _family is None:
        return True
    (reader, writer), _family = _family, None
    os.close(writer)
    os.set_blocking(reader, False)
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False
    finally:
        os.close(reader)


def file_limit() -> tuple[int, int]:
    """The program's own limit of open files: the limit before it was raised, unless the program has set it since."""
    now = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _raised[0] if _raised is not None and now == _raised[1] else now


def _raise_file_limit() -> None:
    """Raises the limit of open files as far as allowed: each thread needs a connection, each process a sentinel."""
    global _raised  # noqa: PLW0603 - one per process
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits.raise_descriptors():
        _raised = (before, resource.getrlimit(resource.RLIMIT_NOFILE))


def _silence_threads() -> None:
    """Silences errors of daemon threads that run until the interpreter ends and find the session closed."""
    hook = threading.excepthook

    def excepthook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, (RuntimeError, ConnectionError)) or _core.is_open():
            hook(arguments)

    threading.excepthook = excepthook


def close() -> None:
    """Leaves the session. The last process of the family ends it: the keys, the private store, the zygote."""
    global _store  # noqa: PLW0603 - one per process
    if not _owner:
        return
    _silence_threads()
    is_last, is_owner = _is_last(), _owner == os.getpid()
    for stop in _stop:
        stop(wait=is_last)
    try:
        for report in _report if is_owner else ():
            report()
        if _core.is_open() and is_last:
            _core.close_session()
        elif _core.is_open():
            _core.settle()
    except (OSError, RuntimeError) as e:
        util.info("the session's keys are left to their lease: %s", e)
    if _store is not None:
        _store.stop(wait=is_last)
        _store = None
    if is_last:
        drop_directory()

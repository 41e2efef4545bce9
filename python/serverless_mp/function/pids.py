"""The process ids of remote processes: given by the program, unique in it, and of no process on any machine.

So a remote process answers `os.getpid()` with its own, and `os.kill` takes it, in the process itself and in the one that
started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from multiprocessing import managers, util
from typing import TYPE_CHECKING, Any

from serverless_mp.program import import_hooks

if TYPE_CHECKING:
    from types import ModuleType

_kill = os.kill
_getpid = os.getpid
_jobs: dict[int, Any] = {}
_own: int | None = None


def take(pid: int) -> None:
    """In a worker: this process is known by this id from now on; a child of its own `fork()` is not."""
    _set(pid)
    os.register_at_fork(after_in_child=lambda: _set(None))
    import_hooks.when_imported("psutil", _teach_psutil)


def _teach_psutil(module: ModuleType) -> None:
    """It asks the system, which knows this process by another id."""
    process: Any = vars(module)["Process"]
    init = process._init

    def _init(self: Any, pid: int | None, **options: Any) -> None:
        init(self, _getpid() if pid == _own else pid, **options)

    process._init = _init


def know(job: Any) -> None:
    """In the process that has started it: its id is good for `os.kill`."""
    _jobs[job.pid] = job
    os.kill = kill


def forward_interrupts() -> None:
    """Ctrl-C reaches remote processes as a terminal's reaches those of this machine; unless the program handles it itself."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(signum: int, frame: Any) -> None:
    for job in list(_jobs.values()):
        with contextlib.suppress(Exception):  # the interrupt itself must come through
            job.signal(signum)
    signal.default_int_handler(signum, frame)


def forget(job: Any) -> None:
    """It has ended."""
    _jobs.pop(job.pid, None)


def kill(pid: int, sig: int, /) -> None:
    """As `os.kill`."""
    job = _jobs.get(pid)
    if pid == _own:
        _kill(_getpid(), sig)
    elif job is None:
        _kill(pid, sig)
    elif job.exitcode() is not None:
        raise ProcessLookupError(3, os.strerror(3))
    elif sig:
        job.signal(sig)


def _set(pid: int | None) -> None:
    global _own  # noqa: PLW0603 - one per process
    _own = pid
    now, before = (_getpid if pid is None else lambda: pid), os.getpid
    os.getpid = now
    os.kill = kill
    # CPython's own copies of the function.
    managers.getpid = now  # type: ignore[attr-defined]
    finalize: Any = util.Finalize.__call__
    finalize.__defaults__ = tuple(now if value is before else value for value in finalize.__defaults__)

"""The process ids of remote processes: assigned by the program, unique in it, and used by no process on any machine.

A remote process returns its own id from `os.getpid()`. `os.kill` accepts the id in the process itself and in the process that
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
    """In a worker: gives this process this id. A child of its own `fork()` does not have it."""
    _set(pid)
    os.register_at_fork(after_in_child=lambda: _set(None))
    import_hooks.when_imported("psutil", _teach_psutil)


def _teach_psutil(module: ModuleType) -> None:
    """Makes psutil accept the id: it asks the system, which knows this process by another one."""
    process: Any = vars(module)["Process"]
    init = process._init

    def _init(self: Any, pid: int | None, **options: Any) -> None:
        init(self, _getpid() if pid == _own else pid, **options)

    process._init = _init


def know(job: Any) -> None:
    """In the process that started a job: makes its id known to `os.kill`."""
    _jobs[job.pid] = job
    os.kill = kill


def forward_interrupts() -> None:
    """Forwards Ctrl-C to remote processes, as a terminal does for local ones, unless the program handles SIGINT itself."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(signum: int, frame: Any) -> None:
    for job in list(_jobs.values()):
        with contextlib.suppress(Exception):  # the interrupt itself must reach the program
            job.signal(signum)
    signal.default_int_handler(signum, frame)


def forget(job: Any) -> None:
    """Forgets a process that has ended."""
    _jobs.pop(job.pid, None)


def kill(pid: int, sig: int, /) -> None:
    """Like `os.kill`."""
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
    # The copies of the function in CPython's modules.
    managers.getpid = now  # type: ignore[attr-defined]
    finalize: Any = util.Finalize.__call__
    finalize.__defaults__ = tuple(now if value is before else value for value in finalize.__defaults__)

"""The life of a worker: it joins the session, claims its job, runs it, and writes the exit record."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import sys
from multiprocessing import forkserver, process, resource_tracker, spawn
from typing import TYPE_CHECKING, Any

from serverless_mp import _core, shadows
from serverless_mp.function import deadline, pids, preload
from serverless_mp.function import launcher as function_launcher
from serverless_mp.function.control import EXITED, FLUSH, NOT_NEEDED
from serverless_mp.program import cache, large_arguments, main_module
from serverless_mp.store import report, session

from . import exit_handlers, finalization

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serverless_mp.local.launch_record import Launch, Remote


_LOW = 32
_INT, _LONG = 1 << 31, 1 << 63
# Keeps the process object to the end.
_ended: list[Any] = []


def run(launch: Launch, parent_sentinel: int | None, descriptors: list[int]) -> int:
    """Runs the job of the launch record, and returns its exit code. A job that another worker has claimed is not run."""
    control = None if launch.remote is None else _take_remote_part(launch.remote, descriptors)
    if launch.has_tracker:
        resource_tracker._resource_tracker._fd = descriptors.pop(0)  # type: ignore[attr-defined]
    forkserver._forkserver._inherited_fds = descriptors  # type: ignore[attr-defined]
    with _low_numbers_taken():
        _core.join_session(
            launch.session, launch.key, launch.url, launch.ttl, launch.seal_memory, launch.process, launch.parent
        )
        session.begin_process()
        record = _core.Job.claim(launch.job, launch.process if launch.remote is None else launch.remote.claimant)
    if record is None:
        if control is not None:
            control.sendall(NOT_NEEDED)
        return 0
    exit_handlers.begin()
    finalization.begin()
    process_obj, code = _work(record, parent_sentinel)
    # A signal that arrives now is too late: its handler must not interrupt the remaining steps.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    if _core.is_lost():
        return os.EX_TEMPFAIL  # whatever the error, this was its cause
    code &= 0xFF
    # Once the record is written, no code of the program runs, such as a destructor: its other threads stop, with their locks.
    _ended.append(process_obj)
    report.worker_ends()
    if control is not None:
        # The output must be sent before the report of the end.
        with contextlib.suppress(OSError):
            control.sendall(FLUSH)
            control.recv(1)
    with contextlib.suppress(OSError):
        _core.Job.finish(launch.job, launch.parent, code, launch.attempts)
        if control is not None:
            control.sendall(EXITED)
    return code


@contextlib.contextmanager
def _low_numbers_taken() -> Iterator[None]:
    """What is opened inside gets a higher number than the descriptors of most programs have: a worker that uses the number of
    its parent's pipe then gets an error, and not its own connection to the store.
    """
    taken: list[int] = []
    try:
        while not taken or taken[-1] < _LOW:
            taken.append(os.dup(0 if not taken else taken[0]))
    except OSError:  # there is none, or few are allowed
        while taken:
            os.close(taken.pop())
    yield
    for descriptor in taken:
        os.close(descriptor)


def _take_remote_part(remote: Remote, descriptors: list[int]) -> socket.socket:
    """On another machine: takes the process id that the program knows, the time limit, and the connection to the supervisor."""
    cache.keep_in(remote.cache)
    large_arguments.keep_in(None)
    deadline.set_retirement(remote.retires_at)
    pids.take(remote.pid)
    function_launcher.launch_through(remote.program)
    return socket.socket(fileno=descriptors.pop(0))


def _work(record: bytes, parent_sentinel: int | None) -> tuple[Any, int]:
    """Runs the process of a record. Returns its object, or None if it could not be made, and the exit code."""
    try:
        process_obj, method = _prepare(record)
    except SystemExit as e:  # of a main module, for example, that is not guarded
        return None, _code_of(e)
    except BaseException as e:  # noqa: BLE001 - the program's own code is imported here
        _tell(e)
        return None, 1
    code = process_obj._bootstrap(parent_sentinel=parent_sentinel)
    exit_handlers.run(process_obj)
    if method in {"fork", "forkserver"} and not -_INT <= code < _INT:  # CPython's `os._exit` refuses it
        _tell(OverflowError("Python int too large to convert to C int"))
        code = 1
    return process_obj, code if -_LONG <= code < _LONG else 255


def _prepare(claimed: bytes) -> tuple[Any, str]:
    """The process object, prepared with the program's modules, and the start method."""
    record = large_arguments.reader(claimed)
    me = process.current_process()
    me._inheriting = True  # type: ignore[attr-defined]
    try:
        preparation = pickle.load(record)  # noqa: S301 - its seal was checked
        from serverless_mp.install import restore  # noqa: PLC0415 - a cycle otherwise

        if "remote" in preparation:
            from serverless_mp.program import environment  # noqa: PLC0415 - not needed on this machine

            environment.enter(preparation["remote"], preparation)
            preload.inherit(preparation)
        restore(preparation["serverless_mp"] | {"method": preparation["start_method"]})
        if preparation["shadows"]:
            shadows.set_apart(preparation["shadows"])
        main_module.is_nowhere = preparation["main_is_nowhere"]
        spawn.prepare(preparation)
        main_module.follow()
        if preparation["forks"]:
            from serverless_mp.fork import restore as forked  # noqa: PLC0415 - cloudpickle, not needed by other start methods

            process_obj = forked.load(record, preparation.get("main_file"))
        else:
            process_obj = pickle.load(record)  # noqa: S301 - the same
    finally:
        del me._inheriting  # type: ignore[attr-defined]
    return process_obj, preparation["start_method"]


def _code_of(end: SystemExit) -> int:
    """The exit code of an interpreter that this has ended."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def _tell(error: BaseException) -> None:
    """Prints an unhandled error of the process. For a module that was not found, adds the search path."""
    if isinstance(error, ImportError):
        error.add_note(f"serverless_mp: the worker looked for module {error.name!r} in {sys.path}")
    main_module.explain(error)
    sys.excepthook(type(error), error, error.__traceback__)
    with contextlib.suppress(Exception):
        sys.stderr.flush()

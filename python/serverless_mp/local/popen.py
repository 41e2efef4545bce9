"""Counterpart of `multiprocessing.popen_forkserver`: launches, polls, awaits and kills a process.

The difference: the process object is written to the store as a record, from which a worker of the zygote reads it.
"""

from __future__ import annotations

import os
import posix
import resource
import signal
import sys
import threading
from multiprocessing import context, resource_tracker, spawn, util
from multiprocessing.popen_forkserver import _DupFd  # type: ignore[attr-defined]
from multiprocessing.reduction import ForkingPickler
from pickle import dumps  # imported by name: a program may put a mock in its place
from typing import Any

from serverless_mp import _core, config, installed, reduction, shadows
from serverless_mp.program import large_arguments, main_module, modules, registrations
from serverless_mp.store import report, session, standard_streams

from . import launcher
from .launch_record import Launch

_alive: tuple[int, int, int] | None = None
# The environment with which the first process of the method "forkserver" was started.
_of_forkserver: dict[str, str] | None = None


class Popen:
    """A launched process."""

    method = "serverless"
    DupFd = _DupFd
    # Whether the process runs on another machine.
    is_remote = False

    def __init__(self, process_obj: Any, method: str | None = None) -> None:
        util._flush_std_streams()  # type: ignore[attr-defined]
        if not self.is_remote:
            launcher.ensure()  # the zygote starts while the store does
        session.ensure()
        modules.note_imports_that_start_processes()
        self.returncode: int | None = None
        self._fds: list[int] = []
        # For another machine: the name of what the worker may have imported already.
        self.preload = ""
        self._holds: list[tuple[str, int]] = []
        self._kept: list[Any] = []
        # Large arguments that are stored separately while this process lives.
        self._pieces: list[str] = []
        self._waiting = threading.Lock()
        # An unpickled lock asks for the method by which this process is started.
        self.method = method or type(process_obj)._start_method or context._default_context.get_start_method()  # type: ignore[attr-defined]
        self._launch(process_obj)

    # ---- what is pickled asks its popen ----------------------------------------------------------------------

    def duplicate_for_child(self, fd: int) -> int:
        """Passes a file descriptor to the worker. Returns its index there."""
        if fd < 0:
            message = "bad value(s) in fds_to_keep"
            raise ValueError(message)
        self._fds.append(fd)
        return len(self._fds) - 1

    def hold(self, handle: Any, end: int = 0) -> None:
        """Has the child hold an object that the record refers to, from its start."""
        self._holds.append((handle.id, end))
        self._kept.append(handle)

    def count_pickled(self) -> tuple[int, int, int]:
        """How much was pickled so far."""
        return len(self._fds), len(self._holds), len(self._kept)

    def forget_what_was_pickled(self, since: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Forgets what was pickled since then, before it is pickled again."""
        for pickled, count in zip((self._fds, self._holds, self._kept), since, strict=True):
            del pickled[count:]  # type: ignore[attr-defined]

    # ---- the launch ------------------------------------------------------------------------------------------

    def _launch(self, process_obj: Any) -> None:
        environment = _variables(self.method) | getattr(process_obj, "_environment", {})
        machine = self._launcher()
        self._forks = getattr(process_obj, "_import_main", True) and self.method == "fork"
        if self._forks and not self.is_remote:
            launcher.preload_for_forks(environment)
        record = self._record(process_obj, environment)
        job, worker = _core.new_id(), _core.new_id()
        try:
            event, descriptors = self._event(job, worker, environment)
            self._job = _core.Job.start(
                job,
                worker,
                record,
                event,
                machine,
                holds=self._holds,
                descriptors=descriptors,
                attempts=config.attempts(),
                preload=self.preload,
            )
        except BaseException:
            large_arguments.release(self._pieces)
            raise
        self._kept.clear()
        self.pid = self._job.pid
        self.sentinel = self._job.sentinel
        report.started(self._job)

    def _launcher(self) -> Any:
        """The launcher as the core takes it. This is the first step of a launch, and may refuse it."""
        return launcher.ensure()

    def _event(self, job: str, worker: str, environment: dict[str, str]) -> tuple[bytes, list[int]]:
        """The request to the zygote, and the descriptors that go with it."""
        here = session.info()
        streams = [fd for fd in standard_streams.DESCRIPTORS if standard_streams.is_open(fd)]
        # A worker of this machine shares the resource tracker of the program, if it has one, as CPython's children do.
        tracker = [fd for fd in [resource_tracker._resource_tracker._fd] if fd is not None]  # type: ignore[attr-defined]
        request = {
            "launch": Launch(
                session=here.session,
                key=here.key,
                url=here.url,
                ttl=here.ttl,
                seal_memory=here.seal_memory,
                parent=here.process,
                process=worker,
                job=job,
                attempts=config.attempts(),
                has_tracker=bool(tracker),
            ),
            "streams": streams,
            "environment": environment,
            # The code of the main module is compiled once for all workers.
            "main": self._main_path,
            "directory": posix.getcwd(),
            "umask": _umask(),
            "group": os.getpgrp(),
            "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            "ignored": [signum for signum in signal.valid_signals() if signal.getsignal(signum) is signal.SIG_IGN],
            **_limits(),
            **launcher.preloading(self._forks),
        }
        return dumps(request), [*streams, _alive_pipe(), *tracker, *self._fds]

    def _record(self, process_obj: Any, environment: dict[str, str]) -> bytes:
        """The record, which contains all that the worker reads from the store."""
        preparation = self._preparation(process_obj, environment)
        self._main_path = preparation.get("init_main_from_path")
        writer = large_arguments.Writer(self._least_apart())
        try:
            self._write_record(process_obj, preparation, writer)
        except BaseException:
            large_arguments.release(writer.pieces())
            raise
        self._pieces = writer.pieces()
        return writer.record()

    def _least_apart(self) -> int:
        """The size in bytes from which a part of the record is stored separately."""
        return max(config.large_argument(), large_arguments.WORTH_A_FILE)

    def _preparation(self, process_obj: Any, environment: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002 - used elsewhere
        """The preparation data: the steps of the worker before it has the process object."""
        # The `__main__` of a debugger may have no `__spec__`.
        vars(sys.modules["__main__"]).setdefault("__spec__", None)
        preparation = spawn.get_preparation_data(process_obj._name)
        if self._forks or not getattr(process_obj, "_import_main", True):
            preparation.pop("init_main_from_path", None)
            preparation.pop("init_main_from_name", None)
            preparation["dir"] = posix.getcwd()  # a program may have replaced os.getcwd
        ours = {"main_is_nowhere": main_module.has_no_file(), "forks": self._forks, "serverless_mp": installed.state()}
        ours |= {"shadows": shadows.of_path(sys.path)}
        return preparation | ours | {"start_method": self.method}

    def _write_record(self, process_obj: Any, preparation: dict[str, Any], writer: large_arguments.Writer) -> None:
        context.set_spawning_popen(self)  # type: ignore[arg-type]
        try:
            ForkingPickler(writer).dump(preparation)
            try:
                if preparation["forks"]:
                    _capture(process_obj, writer)
                else:
                    pickler = ForkingPickler(writer)
                    numpy, table = sys.modules.get("numpy"), pickler.dispatch_table  # type: ignore[attr-defined]
                    if numpy is not None and numpy.ndarray not in table:  # otherwise the program has its own reducer
                        table[numpy.ndarray] = writer.reduce
                    pickler.dump(process_obj)
            except Exception as e:
                _explain(e, process_obj)
                raise
        finally:
            context.set_spawning_popen(None)

    # ---- life ------------------------------------------------------------------------------------------------

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """The exit code if the process has ended, else None. Without WNOHANG it waits for the end."""
        if flag == os.WNOHANG and self.returncode is None and not self._job.has_ended():
            return None  # fast path: each start polls all processes that were started before
        return self.wait(None if flag != os.WNOHANG else 0.0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the end. Returns the exit code, or None on timeout."""
        if self.returncode is None:
            code = self._job.exitcode() if timeout == 0 else self._job.wait(timeout)
            if code is None:
                return None
            with self._waiting:
                is_first, self.returncode = self.returncode is None, code
            if is_first:
                self._ended(code)
        return self.returncode

    def _ended(self, code: int) -> None:
        report.ended(self._job, code)
        large_arguments.release(self._pieces)

    def _send_signal(self, sig: int) -> None:
        if self.returncode is None and self._job.exitcode() is None:
            self._deliver(sig)

    def _deliver(self, sig: int) -> None:
        try:
            os.kill(self.pid, sig)
        except ProcessLookupError:
            pass
        except OSError:
            if self.wait(timeout=0.1) is None:
                raise

    def interrupt(self) -> None:
        """Sends SIGINT."""
        self._send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self._send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Releases the job and its sentinel."""
        del self._job


def _variables(method: str) -> dict[str, str]:
    """The environment of a process. Those of a forkserver all have the one that the server has begun with."""
    global _of_forkserver  # noqa: PLW0603 - one per process
    if method != "forkserver":
        return dict(os.environ)
    if _of_forkserver is None:
        _of_forkserver = dict(os.environ)
    return _of_forkserver


def _capture(process_obj: Any, buffer: Any) -> None:
    """Writes the process object with the state of its program."""
    from serverless_mp import fork  # noqa: PLC0415 - cloudpickle, not needed by other start methods

    fork.check_cloudpickle()
    from serverless_mp.fork import capture  # noqa: PLC0415 - the same

    registrations.call("before")
    try:
        capture.dump(process_obj, buffer)
    finally:
        registrations.call("after_in_parent")


def _explain(error: BaseException, process_obj: Any) -> None:
    """Adds a note that names the argument of the process that cannot be pickled."""
    process = f"process {process_obj._name!r}"
    parts = [(f"argument {i} of {process}", argument) for i, argument in enumerate(process_obj._args)]
    parts += [(f"argument {name!r} of {process}", argument) for name, argument in process_obj._kwargs.items()]
    reduction.explain_first(error, [*parts, (f"the target of {process}", process_obj._target)])


def _alive_pipe() -> int:
    """The end of a pipe that children hold. Its other end closes with this process, by which they notice its end."""
    global _alive  # noqa: PLW0603 - one per process
    if _alive is None or _alive[0] != os.getpid():
        _alive = (os.getpid(), *os.pipe())
    return _alive[1]


def _limits() -> dict[str, Any]:
    """The current limits, priority and processors of this process."""
    limits = {kind: resource.getrlimit(kind) for name, kind in vars(resource).items() if name.startswith("RLIMIT_")}
    limits[resource.RLIMIT_NOFILE] = session.file_limit()
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    return {"limits": limits, "affinity": affinity, "nice": os.getpriority(os.PRIO_PROCESS, 0)}


def _umask() -> int:
    """The umask of this process, which can otherwise be read only by setting it."""
    try:
        with open("/proc/self/status", encoding="ascii") as f:
            for line in f:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

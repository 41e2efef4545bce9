"""The supervisor: one process for each invocation of a function, beside the workers that the invocation runs.

It is forked from the environment's zygote as the workers are, and joins their session, so that the program's code in the
workers cannot affect it. It renews the lease that shows that they live, sends their output line by line to the program,
delivers the program's signals, ends the workers at the time limit, and reports the end of workers that could not report it
themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import time
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any

from serverless_mp import _core, config
from serverless_mp.local import launcher
from serverless_mp.local.launch_record import Launch, Remote

from . import preload
from .control import EXITED, FLUSH, FLUSHED, NOT_NEEDED

# Seconds reserved at the end of an invocation: for SIGKILL, the exit record and the answer.
_RESERVE = 2.0
_RESERVED_SHARE = 0.25
# After this share of the time a pool's worker takes no new task, so that the current one can finish.
_WORKING_SHARE = 0.8
# Seconds that an incomplete line waits for its end.
_LINE = 0.1
_PIECE = 1 << 16
# Free bytes of the disk that the next invocation must find.
_LEAST_FREE = 256 << 20
# Prefixes of the environment's cache and of the directory of its zygote.
_OURS = ("serverless_mp-", "smp-")
_PIPE = 1 << 20
_INT = struct.Struct("=i")
_ERROR = 2  # the descriptor


def main(event: dict[str, Any], deadline: float, report: int, seen: set[str], known: set[str]) -> int:
    """Runs the jobs that the event names. Writes the answer of the function to `report`.

    `seen`: the states of programs that the zygote has met once; `known`: those for which it has preloaded, or will not.
    """
    process = _core.new_id()
    answer: dict[str, Any]
    try:
        _core.join_session(
            event["session"],
            bytes.fromhex(event["key"]),
            event["url"],
            event["ttl"],
            event["seal_memory"],
            process,
            event["parent"],
            is_supervisor=True,
        )
    except OSError as e:
        answer = {
            "refused": f"it cannot reach the store {config.place(event['url'])}: {e}; put the function into the store's VPC "
            "(`serverless-mp deploy --subnets --security-groups`) and let its security group in"
        }
    else:
        supervisor = Supervisor(event, process, deadline, seen, known)
        supervisor.run()
        _core.leave_session()
        _clear_disk()
        answer = {"taken": supervisor.taken}
    os.write(report, json.dumps(answer).encode())
    return 0


def _clear_disk() -> None:
    """Deletes files that processes have left outside of their own directories, once the disk is nearly full."""
    place = gettempdir()
    if shutil.disk_usage(place).free >= _LEAST_FREE:
        return
    for entry in os.scandir(place):
        if not entry.name.startswith(_OURS):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _out_of_memory() -> int:
    """The number of processes that the kernel has killed for lack of memory, on the whole machine."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.partition(" ")[2])
    return 0


class Worker:
    """One worker, as seen by its supervisor."""

    def __init__(
        self,
        job: dict[str, Any],
        report: socket.socket,
        control: socket.socket,
        streams: dict[int, int],
        directory: str,
    ) -> None:
        self.job, self.report, self.control = job, report, control
        # 0 until the zygote has started it, and the signals to deliver then.
        self.pid = 0
        self.signals: list[int] = []
        # The directory for the worker's temporary files.
        self.directory = directory
        self.out_of_memory = _out_of_memory()
        # The descriptors to read from, each with the stream that it carries.
        self.streams = streams
        self.pending = dict.fromkeys(streams, b"")
        # The worker has left its exit record, or another worker had its job.
        self.has_spoken = False
        self.at_limit = False


class Supervisor:
    """The loop of the supervisor."""

    def __init__(self, event: dict[str, Any], process: str, deadline: float, seen: set[str], known: set[str]) -> None:
        self.event = event
        self.seen, self.known = seen, known
        left = deadline - time.monotonic()
        self.limit = deadline - min(_RESERVE, left * _RESERVED_SHARE)
        self.retires_at = self.limit - (self.limit - time.monotonic()) * (1 - _WORKING_SHARE)
        self.claimant = _core.claimant(event["attempt"], process)
        self.taken: list[str] = []
        self.selector = selectors.DefaultSelector()
        self.workers: dict[str, Worker] = {}
        # Workers hold the reading end, by which they notice the end of their parent or of this process.
        self.alive, self.alive_writer = os.pipe()
        self.has_parent = True
        self.commands = _core.Channel.of_process(process, 0)

    def run(self) -> None:
        """Runs until all workers have ended."""
        self.selector.register(self.commands.fileno(), selectors.EVENT_READ, (None, self._command))
        for job in self.event["jobs"]:
            self._start(job)
        while self.workers:
            now = time.monotonic()
            is_late = now >= self.limit
            if is_late:
                self._end_all()
            waits = any(any(worker.pending.values()) for worker in self.workers.values())
            timeout = _LINE if waits or is_late else self.limit - now
            ready = self.selector.select(timeout)
            for key, _ in ready:
                worker, react = key.data
                # Skips descriptors that another event of this round has closed.
                if key.fd in self.selector.get_map():
                    react(worker, key.fd)
            if waits and not ready:
                for worker in self.workers.values():
                    self._forward(worker, whole=True)

    # ---- workers ---------------------------------------------------------------------------------------------

    def _start(self, job: dict[str, Any]) -> None:
        pipes = {1: os.pipe(), _ERROR: os.pipe()}
        control, theirs = socket.socketpair()
        launch = Launch(
            session=self.event["session"],
            key=bytes.fromhex(self.event["key"]),
            url=self.event["url"],
            ttl=self.event["ttl"],
            seal_memory=self.event["seal_memory"],
            parent=self.event["parent"],
            process=job["process"],
            job=job["job"],
            attempts=job["attempts"],
            remote=Remote(self.claimant, self.retires_at, job["pid"], gettempdir(), self.event["program"]),
        )
        directory = mkdtemp(prefix="process-")
        request = launcher.launch_environment() | {"launch": launch, "streams": [1, 2], "line_buffered": True}
        request["environment"] = request["environment"] | {"TMPDIR": directory}
        request |= self._preload(job["preload"])
        report = launcher.ask(request, [pipes[1][1], pipes[2][1], self.alive, theirs.fileno()])
        theirs.close()
        streams = {}
        for stream, (reader, writer) in pipes.items():
            os.close(writer)
            os.set_blocking(reader, False)
            streams[reader] = stream
        worker = Worker(job, report, control, streams, directory)
        self.workers[job["job"]] = worker
        for fd in streams:
            self.selector.register(fd, selectors.EVENT_READ, (worker, self._read))
        self.selector.register(control, selectors.EVENT_READ, (worker, self._hear))
        # The zygote answers later if it imports the program's packages first.
        self.selector.register(report, selectors.EVENT_READ, (worker, self._began))

    def _preload(self, name: str) -> dict[str, Any]:
        """The part of a request about the program's packages, with their description if the zygote shall import them now."""
        state = preload.state(name)
        told: dict[str, Any] = {"state": state, "preload": None}
        if state and state in self.seen and state not in self.known:
            self.known.add(state)
            with contextlib.suppress(OSError, ValueError):
                told["preload"] = preload.fetch(name)
        self.seen.add(state)
        return told

    def _began(self, worker: Worker, fd: int) -> None:
        answer = worker.report.recv(_INT.size)
        if not answer and worker.at_limit:
            self._ended(worker, fd)
            return
        worker.pid = launcher.started(answer)
        self.selector.modify(worker.report, selectors.EVENT_READ, (worker, self._ended))
        if worker.at_limit:
            self._kill(worker)
        for signum in worker.signals:
            self._signal(worker, signum)

    def _hear(self, worker: Worker, _: int) -> None:
        """Reads a worker's control messages."""
        try:
            words = worker.control.recv(16)
        except ConnectionError:  # it was killed before it had read our answer
            words = b""
        if not words:
            self.selector.unregister(worker.control)
        if FLUSH in words:
            self._drain(worker)
            _core.settle()
            with contextlib.suppress(OSError):
                worker.control.sendall(FLUSHED)
        if EXITED in words or NOT_NEEDED in words:
            worker.has_spoken = True
        if NOT_NEEDED in words:
            self.taken.append(worker.job["job"])

    def _ended(self, worker: Worker, _: int) -> None:
        code = worker.report.recv(_INT.size)
        if worker.pid:
            with contextlib.suppress(OSError):
                os.killpg(worker.pid, signal.SIGKILL)  # kills what it has left behind in this environment
        if worker.control in self.selector.get_map():
            worker.control.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                self._hear(worker, 0)
        self._drain(worker)
        if not worker.has_spoken:
            message = ""
            exit_code = _INT.unpack(code)[0] if code else -signal.SIGKILL
            if worker.at_limit:
                exit_code, message = _core.EXIT_TIME_LIMIT, self._about_limit()
            elif exit_code == -signal.SIGKILL and _out_of_memory() > worker.out_of_memory:
                message = self._about_memory()
            if self.has_parent:
                _core.send_death(self.event["parent"], worker.job["job"], exit_code, self.claimant, message)
        sources: list[Any] = [worker.report, worker.control, *worker.streams]
        for fileobj in sources:
            if fileobj in self.selector.get_map():
                self.selector.unregister(fileobj)
        for fd in worker.streams:
            os.close(fd)
        worker.report.close()
        worker.control.close()
        shutil.rmtree(worker.directory, ignore_errors=True)
        del self.workers[worker.job["job"]]

    def _end_all(self) -> None:
        for worker in self.workers.values():
            if not worker.at_limit:
                worker.at_limit = True
                self._kill(worker)

    def _kill(self, worker: Worker) -> None:
        if not worker.pid:  # the zygote drops the request, or answers and this is repeated
            worker.report.shutdown(socket.SHUT_WR)
            return
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                kill(worker.pid, signal.SIGKILL)

    def _about_limit(self) -> str:
        name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        return (
            f"it reached the time limit of function {name}, {self.event['limit']} s; raise it (`serverless-mp deploy "
            "--timeout`, 900 s at most) or split the work"
        )

    def _about_memory(self) -> str:
        name, memory = (os.environ.get(f"AWS_LAMBDA_FUNCTION_{part}", "") for part in ("NAME", "MEMORY_SIZE"))
        return f"function {name} ran out of memory, {memory} MB; raise it (`serverless-mp deploy --memory`)"

    # ---- output ----------------------------------------------------------------------------------------------

    def _read(self, worker: Worker, fd: int) -> None:
        try:
            data = os.read(fd, _PIECE)
        except BlockingIOError:
            return
        if not data:
            self.selector.unregister(fd)
        worker.pending[fd] += data
        self._forward(worker, whole=not data)

    def _drain(self, worker: Worker) -> None:
        """Reads everything that the worker has written so far."""
        for fd in worker.streams:
            with contextlib.suppress(BlockingIOError):
                # A pipe holds no more than this. Output that a child of the worker writes later may arrive later.
                for _ in range(_PIPE // _PIECE):
                    worker.pending[fd] += os.read(fd, _PIECE)
        self._forward(worker, whole=True)

    def _forward(self, worker: Worker, whole: bool) -> None:
        for fd, stream in worker.streams.items():
            data = worker.pending[fd]
            end = len(data) if whole or len(data) > _PIECE else data.rfind(b"\n") + 1
            if end:
                worker.pending[fd] = data[end:]
                if self.has_parent:
                    _core.send_output(self.event["parent"], worker.job["job"], stream == _ERROR, data[:end])

    # ---- what the program wants ------------------------------------------------------------------------------

    def _command(self, _: None, __: int) -> None:
        while (words := self.commands.recv(block=False)) is not None:
            command = _core.read_command(words)
            if command is None:
                if self.has_parent:
                    self.has_parent = False
                    os.close(self.alive_writer)
                continue
            job, signum = command
            worker = self.workers.get(job)
            if worker is not None:
                self._signal(worker, signum)

    def _signal(self, worker: Worker, signum: int) -> None:
        if not worker.pid:
            worker.signals.append(signum)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signum)

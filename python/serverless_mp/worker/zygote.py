"""The zygote, from which local workers are forked.

It is executed, not forked from the program: it has one thread, no user code, and our modules loaded, so that starting a worker
takes one `fork()`. It listens on a UNIX socket, to which `launcher` connects. When the program's end of a pipe closes, the
zygote and its workers end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from serverless_mp import _core
from serverless_mp.local import launcher
from serverless_mp.local.launcher import INT
from serverless_mp.program.modules import installed_places
from serverless_mp.store import limits

from . import launch_state, main_code, preloaded
from .requests import IMPORT_TIMEOUT, PRELOAD_TIMEOUT, Kind, Preloaded, Request, receive_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serverless_mp.function.preload import Preload as FunctionPreload
    from serverless_mp.local.preload import Preload

# The message of a preloaded zygote that is ready.
_READY = b"r"
# Needed only by programs that fork. cloudpickle as well may be too old, or missing.
_OF_FORKS = (
    *(f"serverless_mp.fork.{path.stem}" for path in (Path(__file__).parent.parent / "fork").glob("[a-z]*.py")),
    "cloudpickle",
)
# The interval, in seconds, at which it is checked whether callers still wait for a preloaded zygote.
_CHECK_INTERVAL = 0.1
# The maximum number of preloaded zygotes, and of environments remembered after one use.
_MOST = 3
# The maximum number of states of programs that a function remembers after one use, or after a failure.
_MOST_STATES = 16


def main(listener_fd: int, alive: int, path: str, directory: str) -> None:
    """Starts workers until the program ends. Reads from standard input the names of modules to load when idle."""
    modules = [*_OF_FORKS, *sys.stdin.read().split()]
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    # The descriptors of all workers pass through this process.
    limits.raise_descriptors()
    _preload()
    # The objects of the zygote stay alive: a garbage collection in a worker need not touch their pages and copy them.
    gc.freeze()
    Zygote(socket.socket(fileno=listener_fd), alive, path, modules).serve()
    shutil.rmtree(launcher.files_in(directory), ignore_errors=True)
    # The guard of the private store removes its own files.
    with contextlib.suppress(OSError):
        os.unlink(path)
        os.rmdir(directory)


def _preload() -> None:
    """Imports everything that a worker needs."""
    from serverless_mp import connection, context, heap, managers, pool, queues, sharedctypes, synchronize  # noqa: F401, PLC0415

    from . import job  # noqa: F401, PLC0415

    main_code.use()
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:  # the store is remote, and may use TLS
        with contextlib.suppress(OSError):
            _core.load_roots()
    # Hooks of the environment (a .pth file that wraps imports) may have loaded the package again after its submodules.
    package = sys.modules["multiprocessing"]
    for name, module in list(sys.modules.items()):
        if name.rpartition(".")[0] == "multiprocessing":
            setattr(package, name.rpartition(".")[2], module)


class Zygote:
    """The main loop: requests, ended children, and the end of the program."""

    def __init__(self, listener: socket.socket, alive: int, path: str, modules: list[str]) -> None:
        self.listener, self.alive, self.path, self.modules = listener, alive, path, modules
        self.children: dict[int, socket.socket] = {}
        # The program's imports, and a preloaded zygote for each environment of its workers.
        # The former for processes that fork apart from others, and for others.
        self.preloads: dict[bool, Preload] = {}
        self.preloaded: list[Preloaded] = []
        # Environments that were seen once.
        self.environments: list[dict[str, str]] = []
        # The zygote's own environment, with which its workers start.
        self.environment = dict(os.environ)
        # In a function: the supervisor of the current invocation, and the states of programs that were seen once, and those for
        # which preloading has failed.
        self.supervisor: int | None = None
        self.seen: list[str] = []
        self.failed: list[str] = []
        self.wake_pipe, self.wake_writer = os.pipe()
        for fd in (self.wake_pipe, self.wake_writer):
            os.set_blocking(fd, False)

    def serve(self) -> None:
        """Serves requests until the program ends. Its workers then end as well."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            for fd in (self.listener, self.alive, self.wake_pipe):
                selector.register(fd, selectors.EVENT_READ)
            self.selector = selector
            while True:
                ready = {key.fileobj for key, _ in selector.select(self.select_timeout())}
                if not ready:
                    self.load_one()
                self.start_late()
                if self.alive in ready:
                    break
                if self.wake_pipe in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self.wake_pipe, 4096)
                    self.reap()
                self.hear_preloaded(ready)
                if self.listener in ready and not self.accept():
                    break
        self.listener.close()
        for one in self.preloaded:
            one.end()
        for pid, connection in self.children.items():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            connection.close()

    def select_timeout(self) -> float | None:
        """The time to wait for the next event, in seconds; None means no limit."""
        if self.modules:
            return 0
        return _CHECK_INTERVAL if any(one.waiting for one in self.preloaded) else None

    def start_late(self) -> None:
        """Starts here what has waited too long for a preloaded zygote. Drops requests that nobody waits for any more."""
        for one in self.preloaded:
            is_late = one.is_late()
            if is_late and one.waiting and isinstance(one.kind, str):  # in a function, nobody waits for it again
                os.kill(one.pid, signal.SIGKILL)
            for request in [request for request in one.waiting if is_late or request.is_given_up()]:
                one.waiting.remove(request)  # a child that is forked meanwhile closes the others
                if request.is_given_up():
                    request.close()
                else:
                    self.start(request)

    def load_one(self) -> None:
        """When idle: imports one more module that workers may need."""
        if not self.modules:
            return
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(self.modules.pop())
        if not self.modules:
            installed_places()  # a worker's end asks for them
            gc.freeze()
            self.environment = dict(os.environ)  # as those modules have left it

    def reap(self) -> None:
        """Reports to its caller how each ended child ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            connection = self.children.pop(pid, None)
            for one in [one for one in self.preloaded if one.pid == pid]:
                one.is_reaped = True
                if not one.is_ready and not one.is_gone:
                    self.lose(one)
            if pid == self.supervisor:
                self.supervisor = None
                self.kill_orphans()
            if connection is not None:  # otherwise it was an orphan of a worker
                with contextlib.suppress(OSError):
                    connection.sendall(INT.pack(os.waitstatus_to_exitcode(status)))
                connection.close()

    def kill_orphans(self) -> None:
        """In a function, at the end of an invocation: kills processes that its workers have left behind, in any session."""
        kept = {one.pid for one in self.preloaded if not one.is_reaped}
        while orphans := [pid for pid in _children() if pid not in self.children and pid not in kept]:
            for pid in orphans:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def accept(self) -> bool:
        """Takes one request. Returns False if there will be no more."""
        connection, _ = self.listener.accept()
        try:
            request, fds = receive_request(connection)
        except (OSError, EOFError, struct.error):
            connection.close()
            return True
        self.answer(Request(connection, request, fds))
        return True

    def answer(self, request: Request) -> None:
        """Starts the worker here or in a preloaded zygote, or keeps the request until that zygote is ready."""
        known = next((one for one in self.preloaded if one.kind == request.kind), None)
        is_new = known is None
        if request.preload is not None and request.state is None:
            self.preloads.setdefault(request.is_apart, request.preload)
        if request.imports_only:
            if is_new:
                self.preload_for(request)
            request.close()
            return
        if known is not None and not known.is_gone:
            if not known.is_ready:
                if not known.is_late():
                    known.waiting.append(request)
                    return
            else:
                with contextlib.suppress(OSError):
                    known.hand_over(request)
                    return
        if request.state is not None:
            self.answer_in_function(request, request.state)
            return
        self.start(request)
        if is_new:
            self.preload_for(request)

    def preload_for(self, request: Request) -> None:
        """Begins to preload for a new environment if that is worth it."""
        preload, environment = self.preloads.get(request.is_apart), request.wanted["environment"]
        if preload is None or len(self.preloaded) >= _MOST:
            return
        # The first environment is preloaded at once. Others are when seen again, since each process may have its own.
        kinds = [one.kind for one in self.preloaded]
        if any(kind[0] == request.is_apart for kind in kinds) and environment not in self.environments:
            self.environments = [*self.environments[1 - _MOST :], environment]
            return
        # A worker that forks imports all that the program has imported: it can as well wait until that was done for all.
        self.begin_preloading(preload, request.kind, IMPORT_TIMEOUT if request.imports_only else PRELOAD_TIMEOUT, [])

    def answer_in_function(self, request: Request, state: str) -> None:
        """Starts the worker of a function, or begins to preload for it.

        Preloading begins with the second worker of a state, which waits: it takes as long as its own imports would, and nothing
        is imported beside the first worker, which may be the only one. There is one preloaded zygote: a worker of another state
        ends it, so that it takes no memory from a worker that has no use for it.
        """
        for one in [one for one in self.preloaded if not one.is_used and not one.waiting]:
            self.forget(one)
            one.kill()
        if request.preload is None or self.preloaded:
            if state and state not in self.seen:
                self.seen = [*self.seen[1 - _MOST_STATES :], state]
            self.start(request)
            return
        self.seen = [one for one in self.seen if one != state]
        preload, request.preload = request.preload, None  # once
        if not self.begin_preloading(preload, state, IMPORT_TIMEOUT, [request]):
            self.start(request)

    def forget(self, one: Preloaded) -> None:
        """Closes the connection to a preloaded zygote. On this machine its environment is not preloaded again."""
        self.selector.unregister(one.socket)
        one.socket.close()
        one.is_gone = True
        if isinstance(one.kind, str):
            self.preloaded.remove(one)

    def begin_preloading(self, preload: Preload | FunctionPreload, kind: Kind, timeout: float, waiting: list[Request]) -> bool:
        """Forks a zygote that imports the program's modules, for which these requests wait. Returns False if it cannot fork."""
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            return False
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            return False
        self.preloaded.append(Preloaded(kind, ours, pid, timeout, waiting))
        if pid == 0:
            with _never_returns():
                self.become_preloaded(preload, kind, theirs)
        theirs.close()
        self.selector.register(ours, selectors.EVENT_READ)
        return True

    def become_preloaded(self, preload: Any, kind: Kind, handoff: socket.socket) -> None:
        """In the child: becomes a zygote that receives its requests from the first one."""
        _core.die_with_parent()
        signal.set_wakeup_fd(-1)
        self.selector.close()
        for other in (self.listener, *self.children.values()):
            other.close()
        for one in self.preloaded:
            one.close()
        for fd in (self.wake_pipe, self.wake_writer):
            os.close(fd)
        if isinstance(kind, str):
            from . import preloaded_in_function  # noqa: PLC0415 - in a function only

            is_loaded = preloaded_in_function.load(preload)
        else:
            is_loaded = preloaded.load(preload, kind[1])
        if is_loaded:
            handoff.sendall(_READY)
            PreloadedZygote(handoff, self.alive, self.path, []).serve()

    def hear_preloaded(self, ready: set[Any]) -> None:
        """Handles the messages of preloaded zygotes, or their ends. `ready`: the sockets that can be read."""
        for one in [*self.preloaded]:
            if one.socket in ready and not one.is_gone:
                try:
                    one.is_ready = one.socket.recv(1) == _READY
                except OSError:
                    one.is_ready = False
                if one.is_ready:
                    self.answer_waiting(one)
                else:
                    self.lose(one)

    def lose(self, preloaded: Preloaded) -> None:
        """Does without a preloaded zygote that has ended, or whose imports must not be used."""
        self.forget(preloaded)
        if isinstance(preloaded.kind, str):
            self.failed = [*self.failed[1 - _MOST_STATES :], preloaded.kind]
        elif (preload := self.preloads[preloaded.kind[0]]).others and preload.modules:
            # Without those that nobody has chosen it may succeed.
            self.preloads[preloaded.kind[0]] = less = preload._replace(others=[])
            self.preloaded.remove(preloaded)
            left = preloaded.last - time.monotonic()
            if self.begin_preloading(less, preloaded.kind, left, preloaded.waiting):
                return
        self.answer_waiting(preloaded)

    def answer_waiting(self, preloaded: Preloaded) -> None:
        """Answers the requests that have waited for a preloaded zygote."""
        while preloaded.waiting:  # a child that is forked meanwhile closes the others
            request = preloaded.waiting.pop(0)
            if request.is_given_up():
                request.close()
            else:
                self.answer(request)

    def start(self, request: Request) -> None:
        """Starts one worker."""
        wanted, fds, connection = request.wanted, request.fds, request.connection
        # A signal for the child must not run handlers of this process: signals are blocked until the child has its own.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # The child belongs to its caller's process group from the start, so that a Ctrl-C reaches it.
        with contextlib.suppress(OSError):
            os.setpgid(0, wanted["group"])
        try:
            with warnings.catch_warnings(action="ignore"):  # CPython warns of threads, which these forks do not disturb
                pid = os.fork()
        except OSError as e:
            with contextlib.suppress(OSError):
                connection.sendall(INT.pack(-(e.errno or 1)))
            connection.close()
        else:
            if pid == 0:
                self.become_worker(wanted, fds, connection)
            self.children[pid] = connection
            if wanted.get("supervisor"):
                self.supervisor = pid
                for one in self.preloaded:
                    one.is_used = False
                _core.adopt_orphans()
            with contextlib.suppress(OSError):
                connection.sendall(INT.pack(pid))
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for fd in fds:
            os.close(fd)
        if wanted.get("main"):
            main_code.compile_for_others(wanted["main"])

    def become_worker(self, request: dict[str, Any], fds: list[int], connection: socket.socket) -> NoReturn:
        """In the child: takes over the state of its caller, then runs the job."""
        code = 1
        with _never_returns():
            from . import job  # noqa: PLC0415 - loaded already

            signal.set_wakeup_fd(-1)
            for signum in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(signum, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for signum in request["ignored"]:
                signal.signal(signum, signal.SIG_IGN)
            _core.die_with_parent()
            self.selector.close()
            for other in (self.listener, connection, *self.children.values()):
                other.close()
            for one in self.preloaded:
                one.close()
            for fd in (self.alive, self.wake_pipe, self.wake_writer):
                os.close(fd)
            launch_state.take(request, fds, self.environment)
            launcher.use(self.path, request.get("apart", False))
            streams = len(request["streams"])
            if request.get("supervisor"):
                from serverless_mp.function import supervisor  # noqa: PLC0415 - in a function only

                known = {*self.failed, *(one.kind for one in self.preloaded if isinstance(one.kind, str))}
                code = supervisor.main(request["event"], request["deadline"], fds[streams], {*self.seen}, known)
            else:
                code = job.run(request["launch"], fds[streams], fds[streams + 1 :])
            os._exit(code & 0xFF)


class PreloadedZygote(Zygote):
    """A zygote that receives its requests from the first zygote."""

    def accept(self) -> bool:
        """Takes one request from the first zygote."""
        try:
            wanted, fds = receive_request(self.listener)
        except (OSError, EOFError, struct.error):
            return False
        if not fds:  # there were too many descriptors for this process
            return True
        self.start(Request(socket.socket(fileno=fds[0]), wanted, fds[1:]))
        return True

    def become_worker(self, request: dict[str, Any], fds: list[int], connection: socket.socket) -> NoReturn:
        """In the child: takes what differs from other workers, then becomes the worker."""
        preloaded.part_from_others()
        in_function = sys.modules.get(f"{__package__}.preloaded_in_function")
        if in_function is not None:
            request["environment"] = in_function.change_variables(request["environment"])
        super().become_worker(request, fds, connection)


@contextlib.contextmanager
def _never_returns() -> Iterator[None]:
    """In a forked child: no exception may return into the parent's loop."""
    try:
        yield
    except BaseException:  # noqa: BLE001 - any error ends the child
        sys.excepthook(*sys.exc_info())
        with contextlib.suppress(Exception):
            sys.stderr.flush()
    os._exit(1)


def _children() -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                text = Path("/proc", entry, "stat").read_text(encoding="ascii", errors="replace")
                if int(text.rpartition(")")[2].split()[1]) == os.getpid():
                    found.append(int(entry))
    return found

"""The program's side of starting local processes: it starts the zygote and sends it requests.

A connection to the zygote starts one worker. The request carries environment, directory, umask, process group and signal mask,
and descriptors as ancillary data. The zygote answers with the process id, and later with the exit code.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from array import array
from multiprocessing import spawn, util
from pathlib import Path
from pickle import dumps
from socket import socket as _Socket  # noqa: N812 - a class
from typing import Any

from serverless_mp import hash_seed, shadows
from serverless_mp.program import large_arguments, modules
from serverless_mp.program.introspect import attributes, module_of
from serverless_mp.stdlib.own_subprocess import DEVNULL, PIPE, Popen
from serverless_mp.store import session, standard_streams

from .preload import wanted, wanted_by_forks

INT = struct.Struct("=i")
# No program that the receiver executes gets the descriptors, as after a fork in CPython.
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_lock = threading.Lock()
_zygote: tuple[Popen[bytes], int] | None = None
_path: str | None = None
# The preloaded zygotes of which the zygote was told what they import: that of processes that fork apart from others (True), and
# that of others; and whether there is the former, None while that is not known.
_told: set[bool] = set()
_forks_apart: bool | None = None
# The module search path of the zygote; None: that of the program with its own directories at the end.
_search_path: list[str] | None = None


def ensure() -> str:
    """Starts the zygote unless it is running. Returns the path of its socket."""
    global _zygote, _path, _forks_apart  # noqa: PLW0603 - one per process
    with _lock:
        if _path is None or not _is_there(_path):
            directory = session.directory()
            _path = f"{directory}/z{os.getpid()}"
            large_arguments.keep_in(files_in(directory))
            _zygote = _start(_path, directory)
            _told.clear()
            _forks_apart = None
        return _path


def _is_there(path: str) -> bool:
    """Whether the zygote still listens."""
    return os.path.exists(path) and (_zygote is None or _zygote[0].poll() is None)


def request(wanted: dict[str, Any], fds: list[int]) -> tuple[int, socket.socket]:
    """Asks the zygote for a process and waits for it. Returns its id and the socket for its exit code."""
    connection = ask(wanted, fds)
    return started(receive(connection, INT.size)), connection


def ask(wanted: dict[str, Any], fds: list[int]) -> socket.socket:
    """Asks the zygote for a process, as `src/launcher/local.rs` does. Returns the socket for its id and its exit code."""
    data = dumps(wanted)
    connection = _Socket(socket.AF_UNIX)
    connection.connect(ensure())
    socket.send_fds(connection, [INT.pack(len(data))], fds)
    connection.sendall(data)
    return connection


def receive_with_descriptors(connection: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Up to `size` bytes, and the descriptors that came with them, of which `most` may come."""
    fds = array("i")
    # `socket.recv_fds` ignores its flags.
    data, ancillary, _, _ = connection.recvmsg(size, socket.CMSG_LEN(most * fds.itemsize), _CLOSE_ON_EXEC)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    for fd in () if _CLOSE_ON_EXEC else fds:  # a system without the flag
        os.set_inheritable(fd, False)
    return data, list(fds)


def started(answer: bytes) -> int:
    """The process id in the zygote's answer. Raises OSError if no process could be started."""
    pid: int = INT.unpack(answer)[0]
    if pid <= 0:
        raise OSError(-pid, f"no process could be started: {os.strerror(-pid)}")
    return pid


def preload_for_forks(environment: dict[str, str]) -> None:
    """Tells the zygote what workers that fork shall find imported, unless it knows. It imports that while the program describes
    its state for the first of them.
    """
    global _forks_apart  # noqa: PLW0603 - one per process
    if _zygote is None:
        return
    of_forks = None
    if _forks_apart is None:
        of_forks = wanted_by_forks()
        _forks_apart = of_forks is not None
    if _forks_apart not in _told:
        _told.add(_forks_apart)
        preload = of_forks or wanted()
        if preload is not None:
            with contextlib.suppress(OSError):  # the request that follows meets the error again
                ask({"preload": preload, "apart": _forks_apart, "environment": environment, "imports_only": True}, []).close()


def preloading(forks: bool) -> dict[str, Any]:
    """What a request says of preloading: which preloaded zygote it wants; and if that is news to a zygote that this process has
    started, what it imports for workers that do not fork.
    """
    said: dict[str, Any] = {"apart": forks and bool(_forks_apart)}
    if not forks and _zygote is not None and False not in _told:
        _told.add(False)
        said["preload"] = wanted()
    return said


def launch_environment() -> dict[str, Any]:
    """The settings of a process that has this one's variables and directory, and defaults for all else."""
    return {
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "umask": 0o022,
        "group": 0,
        "mask": set(),
        "ignored": [],
        "limits": {},
        "affinity": None,
        "nice": None,
    }


def _after_fork() -> None:
    """In a child of the program's own `fork()`, which uses the same zygote as long as it exists."""
    global _lock, _zygote  # noqa: PLW0603 - one per process
    _lock = threading.Lock()
    if _zygote is not None:
        _zygote[0].returncode = 0  # another process waits for it
        _zygote = None


def use_search_path(path: list[str]) -> None:
    """Makes the zygote and its workers use this module search path."""
    global _search_path  # noqa: PLW0603 - one per process
    _search_path = list(path)


def use(path: str, forks_apart: bool) -> None:
    """In a worker: its own processes are started by the zygote that it was forked from."""
    global _path, _forks_apart
    _path, _forks_apart = path, forks_apart
    large_arguments.keep_in(files_in(os.path.dirname(path)))


def files_in(directory: str) -> str:
    """The directory for the files of large arguments."""
    return f"{directory}/arguments"


def _start(path: str, directory: str) -> tuple[Popen[bytes], int]:
    standard_streams.reserve()  # the session may not be open yet
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with _Socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1024)
        alive_r, alive_w = os.pipe()
        place = os.path.realpath(Path(__file__).parent.parent.parent)
        search_path = shadows.past_own(sys.path if place in sys.path else [*sys.path, place])
        program = (
            f"import sys; sys.path[:] = {_search_path or search_path!r}; "
            # First, since hooks of the environment may act on it. It is also a name for programs that search for the process by
            # it, as loky's tests do.
            f"import multiprocessing.forkserver; "
            f"from serverless_mp.worker.zygote import main; "
            f"main({listener.fileno()}, {alive_r}, {path!r}, {directory!r})"
        )
        executable = os.fsdecode(spawn.get_executable())
        # Also if the program has made them so that no executed process inherits them: its forked processes would have them.
        streams = [fd if standard_streams.is_open(fd) else DEVNULL for fd in (1, 2)]
        flags = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
        process = Popen(
            [executable, *flags, "-c", program],
            stdin=PIPE,
            stdout=streams[0],
            stderr=streams[1],
            pass_fds=(listener.fileno(), alive_r),
            process_group=0,
            env={**os.environ, **hash_seed.variables()},
        )
        os.close(alive_r)
        assert process.stdin is not None  # noqa: S101 - asked for above
        with process.stdin as stdin:
            stdin.write(" ".join(_standard_modules()).encode())
    return process, alive_w


def _standard_modules() -> list[str]:
    """The modules of the standard library that the program uses, since its workers will use them too.

    Modules that took names from multiprocessing at import are left out: in a worker they must find our names, which `install()`
    puts there later.
    """
    return [
        name
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in sys.stdlib_module_names and name != "__main__"
        if not modules.is_late(module) and not _takes_names(name, module)
    ]


def _takes_names(name: str, module: Any) -> bool:
    origins = {module_of(value).partition(".")[0] for value in list(attributes(module).values())}
    return not name.startswith("multiprocessing") and bool(origins & {"multiprocessing", "serverless_mp"})


def stop(*, wait: bool = True) -> None:
    """Ends the zygote and its workers, and waits for its end. If other processes use it, this one only detaches from it."""
    global _zygote, _path
    if _zygote is not None:
        (process, alive), _zygote, _path = _zygote, None, None
        os.close(alive)
        if wait:
            process.wait()
        else:
            process.returncode = 0  # it ends with the last process that uses it


def receive(connection: socket.socket, length: int) -> bytes:
    """Reads `length` bytes. Raises EOFError if the other side closes before."""
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


session.stop_with(stop)
os.register_at_fork(after_in_child=_after_fork)

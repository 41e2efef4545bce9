"""The program's half of starting processes on this machine: the zygote, and what is asked of it.

A connection to the zygote starts one worker: its surroundings go out (environment, directory, umask, process group, signal
mask, and descriptors as ancillary data), its process id and later its exit code come back.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from multiprocessing import spawn, util
from pathlib import Path
from pickle import dumps
from socket import socket as _Socket  # noqa: N812 - a class
from subprocess import PIPE, Popen
from typing import Any

from serverless_mp.program import large_arguments
from serverless_mp.store import session

from .preload import Preload, wanted

INT = struct.Struct("=i")
_lock = threading.Lock()
_zygote: tuple[Popen[bytes], int] | None = None
_path: str | None = None
# Whether the zygote knows what it is to preload.
_is_told = False
# The module search path of the zygote and its workers; None: an interpreter's own, and the directory of this package.
_search_path: list[str] | None = None


def ensure() -> str:
    """The path of the socket; starts the zygote if it is not running."""
    global _zygote, _path, _is_told  # noqa: PLW0603 - one per process
    with _lock:
        if _path is None or not _is_there(_path):
            directory = session.directory()
            _path = f"{directory}/z{os.getpid()}"
            large_arguments.keep_in(files_in(directory))
            _zygote = _start(_path, directory)
            _is_told = False
        return _path


def _is_there(path: str) -> bool:
    """Whether the zygote still listens."""
    return os.path.exists(path) and (_zygote is None or _zygote[0].poll() is None)


def request(wanted: dict[str, Any], fds: list[int]) -> tuple[int, socket.socket]:
    """Asks the zygote for a process, as `src/launcher/local.rs` does. Returns its id, and the descriptor of its exit code."""
    data = dumps(wanted)
    connection = _Socket(socket.AF_UNIX)
    connection.connect(ensure())
    socket.send_fds(connection, [INT.pack(len(data))], fds)
    connection.sendall(data)
    pid = INT.unpack(receive(connection, INT.size))[0]
    if pid <= 0:
        raise OSError(-pid, f"no process could be started: {os.strerror(-pid)}")
    return pid, connection


def preload() -> Preload | None:
    """What the zygote is to preload: with the first request to one that this process has started."""
    global _is_told  # noqa: PLW0603 - one per process
    if _is_told or _zygote is None:
        return None
    _is_told = True
    return wanted()


def launch_environment() -> dict[str, Any]:
    """The environment of a process that has its caller's variables and directory, and nothing else of it."""
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
    """In a child of the program's own `fork()`, which uses the same zygote as long as it is there."""
    global _lock, _zygote  # noqa: PLW0603 - one per process
    _lock = threading.Lock()
    if _zygote is not None:
        _zygote[0].returncode = 0  # not this process' to wait for
        _zygote = None


def use_search_path(path: list[str]) -> None:
    """The zygote and its workers look for modules where the caller does, in the same order."""
    global _search_path  # noqa: PLW0603 - one per process
    _search_path = list(path)


def use(path: str) -> None:
    """A worker starts its own processes from the zygote that it came from."""
    global _path  # noqa: PLW0603 - one per process
    _path = path
    large_arguments.keep_in(files_in(os.path.dirname(path)))


def files_in(directory: str) -> str:
    """Where the files of large arguments are."""
    return f"{directory}/arguments"


def _start(path: str, directory: str) -> tuple[Popen[bytes], int]:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with _Socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1024)
        alive_r, alive_w = os.pipe()
        place = str(Path(__file__).parent.parent.parent)
        if _search_path is None:
            set_path = f"sys.path.append({place!r}) if {place!r} not in sys.path else None"
        else:
            set_path = f"sys.path[:] = {_search_path!r}"
        program = (
            # Its text says what it is to whoever looks for CPython's, as loky's tests do.
            f"import multiprocessing.forkserver, sys; {set_path}; "
            f"from serverless_mp.worker.zygote import main; "
            f"main({listener.fileno()}, {alive_r}, {path!r}, {directory!r})"
        )
        executable = os.fsdecode(spawn.get_executable())
        flags = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
        process = Popen(  # noqa: S603 - this interpreter
            [executable, *flags, "-c", program],
            stdin=PIPE,
            pass_fds=(listener.fileno(), alive_r),
            process_group=0,
        )
        os.close(alive_r)
        assert process.stdin is not None  # noqa: S101 - asked for above
        with process.stdin as stdin:
            stdin.write(" ".join(_standard_modules()).encode())
    return process, alive_w


def _standard_modules() -> list[str]:
    """The modules of the standard library that the program uses: its workers will, too.

    Not what took names from multiprocessing when it was imported: in a worker it must find ours, which `install()` puts there.
    """
    return [
        name
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in sys.stdlib_module_names and name != "__main__" and not _takes_names(name, module)
    ]


def _takes_names(name: str, module: Any) -> bool:
    origins = {str(getattr(value, "__module__", "")).partition(".")[0] for value in list(vars(module).values())}
    return not name.startswith("multiprocessing") and bool(origins & {"multiprocessing", "serverless_mp"})


def stop(*, wait: bool = True) -> None:
    """Ends the zygote and its workers, and waits for its end; where other processes use it, only lets it go."""
    global _zygote, _path
    if _zygote is not None:
        (process, alive), _zygote, _path = _zygote, None, None
        os.close(alive)
        if wait:
            process.wait()
        else:
            process.returncode = 0  # it ends with the last of those


def receive(connection: socket.socket, length: int) -> bytes:
    """So many bytes. EOFError where the other side has gone before."""
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


session.stop_with(stop)
os.register_at_fork(after_in_child=_after_fork)

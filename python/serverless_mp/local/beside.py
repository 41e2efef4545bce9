"""Connections between a manager's server and the process that has started it, which runs on the same machine.

The two have a pair of sockets. The process sends one end of another pair through it for each connection. A message carries the
versions of shared memory, as a message through the store does. All other processes reach the server through the store.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import threading
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from serverless_mp import _core, reduction

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE = struct.Struct("!I")
# The sockets to servers, by the process that has started the server and the address. The program's own forks use the store.
_servers: dict[tuple[int, str], socket.socket] = {}


class Connection(connection.Connection):
    """CPython's connection by a socket; before each message stand the length and the text of versions."""

    def send(self, obj: Any) -> None:
        """Sends an object."""
        self._check_closed()
        self._check_writable()
        self._send_bytes(reduction.dumps(obj))

    def recv(self) -> Any:
        """The next object. Raises EOFError if the other process has closed its end, or has ended."""
        self._check_closed()
        self._check_readable()
        return reduction.loads(self._recv_bytes().getbuffer())

    def _send_bytes(self, buf: Any) -> None:
        versions = _core.publish().encode()
        super()._send_bytes(b"".join([_SIZE.pack(len(versions)), versions, buf]))

    def _recv_bytes(self, maxsize: int | None = None) -> Any:
        data = super()._recv_bytes().getbuffer()
        begin = _SIZE.size + _SIZE.unpack_from(data)[0]
        _core.acquire(str(data[_SIZE.size : begin], "ascii"))
        if maxsize is not None and len(data) - begin > maxsize:
            return None
        buffer = io.BytesIO(data[begin:])
        buffer.seek(0, io.SEEK_END)  # as CPython's reader leaves it
        return buffer


def note(address: str, link: socket.socket) -> None:
    """Notes the socket to the server at an address."""
    _servers[os.getpid(), address] = link


def forget(address: str) -> None:
    """Closes the socket to the server at an address, which has ended."""
    link = _servers.pop((os.getpid(), address), None)
    if link is not None:
        link.close()


def connect(address: str) -> Connection | None:
    """A connection to the server at an address, if this process has started it."""
    link = _servers.get((os.getpid(), address))
    if link is None:
        return None
    mine, theirs = socket.socketpair()
    with theirs:
        try:
            socket.send_fds(link, [b"c"], [theirs.fileno()])
        except OSError:  # it has ended: so the store will say
            mine.close()
            return None
    return Connection(mine.detach())


def serve(link: socket.socket, handle: Callable[[Connection], None]) -> None:
    """In the server: handles each connection in a thread of its own, until the other process has ended."""
    while True:
        _, descriptors, _, _ = socket.recv_fds(link, 1, 1)
        if not descriptors:
            return
        threading.Thread(target=handle, args=(Connection(descriptors[0]),), daemon=True).start()

"""Connections between a manager's server and the process that has started it, which runs on the same machine.

The two have a pair of sockets. The process sends one end of another pair through it for each connection. A message carries the
versions of shared memory, as a message through the store does. All other processes reach the server through the store.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import struct
import threading
from multiprocessing import connection
from time import sleep  # imported by name: the program may have put a mock in its place
from typing import TYPE_CHECKING, Any

from serverless_mp import _core, reduction

from .launcher import receive_with_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE = struct.Struct("!I")
# The links to servers, by the process that has started the server and the address. The program's own forks use the store.
_links: dict[tuple[int, str], _Link] = {}
# What a server answers to a connection, and what it answers if it has no descriptor for it.
_TAKEN, _FULL = b"t", b"f"
# Seconds until a server without descriptors is asked again.
_PAUSE = 0.01


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
        return reduction.loads(self._receive())

    def _send_bytes(self, buf: Any) -> None:
        versions = _core.publish().encode()
        super()._send_bytes(b"".join([_SIZE.pack(len(versions)), versions, buf]))

    def _receive(self) -> memoryview:
        data = super()._recv_bytes().getbuffer()
        begin = _SIZE.size + _SIZE.unpack_from(data)[0]
        _core.acquire(str(data[_SIZE.size : begin], "ascii"))
        return data[begin:]

    def _recv_bytes(self, maxsize: int | None = None) -> Any:
        data = self._receive()
        if maxsize is not None and len(data) > maxsize:
            return None
        buffer = io.BytesIO(data)
        buffer.seek(0, io.SEEK_END)  # as CPython's reader leaves it
        return buffer


def _connection(descriptor: int) -> Connection:
    # A time limit for the program's sockets, or a library that replaces their class, has let it not block.
    os.set_blocking(descriptor, True)
    return Connection(descriptor)


class _Link:
    """The socket through which this process gives connections to a server."""

    def __init__(self, to_server: socket.socket) -> None:
        to_server.setblocking(True)
        self._socket, self._lock = to_server, threading.Lock()

    def connect(self) -> Connection | None:
        """A new connection; None if the server has ended."""
        mine, theirs = socket.socketpair()
        with mine, theirs:
            try:
                while self._give(theirs) == _FULL:
                    sleep(_PAUSE)
            except (OSError, EOFError):
                return None
            return _connection(mine.detach())

    def _give(self, end: socket.socket) -> bytes:
        with self._lock:
            try:
                socket.send_fds(self._socket, [_TAKEN], [end.fileno()])
                answer = self._socket.recv(1)
            except BaseException:  # the answer may still come, to no question
                self._socket.close()
                raise
        if not answer:
            raise EOFError
        return answer

    def close(self) -> None:
        self._socket.close()


def note(address: str, to_server: socket.socket) -> None:
    """Notes the socket to the server at an address."""
    _links[os.getpid(), address] = _Link(to_server)


def forget(address: str) -> None:
    """Closes the socket to the server at an address, which has ended."""
    link = _links.pop((os.getpid(), address), None)
    if link is not None:
        link.close()


def connect(address: str) -> Connection | None:
    """A connection to the server at an address, if this process has started it and it has not ended."""
    link = _links.get((os.getpid(), address))
    return None if link is None else link.connect()


def serve(to_starter: socket.socket, handle: Callable[[Connection], None]) -> None:
    """In the server: handles each connection in a thread of its own, until the other process has ended."""
    to_starter.setblocking(True)
    with to_starter, contextlib.suppress(ConnectionError):
        while True:
            asked, descriptors = receive_with_descriptors(to_starter, len(_TAKEN), 1)
            if not asked:
                return
            to_starter.sendall(_TAKEN if descriptors else _FULL)
            for descriptor in descriptors:
                threading.Thread(target=handle, args=(_connection(descriptor),), daemon=True).start()

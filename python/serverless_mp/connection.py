"""Counterpart of `multiprocessing.connection`: connections, listeners and clients through the store.

The interface and its checks are CPython's; below them is one end of a channel. Addresses in the store begin with
`serverless-mp:`; TCP and UNIX addresses are handled by CPython.
"""

from __future__ import annotations

import errno
import io
import os
from multiprocessing import connection, context
from multiprocessing.reduction import ForkingPickler
from typing import Any

from . import _core, config, reduction
from .local import beside
from .stdlib import public_names
from .store import session

__all__ = ["Client", "Listener", "Pipe", "wait"]

_FAMILY = "serverless-mp:"


class Connection(connection.Connection):
    """CPython's interface to one end of a pipe through the store. `fileno()` is readable while something can be received."""

    def __init__(self, channel: Any, readable: bool = True, writable: bool = True) -> None:
        # The base class would want a number as its handle: here the handle is the channel.
        self._handle = channel
        self._readable = readable
        self._writable = writable

    def fileno(self) -> int:
        """A descriptor for `wait`, `select` and `asyncio`."""
        self._check_closed()
        return self._handle.fileno()

    def send(self, obj: Any) -> None:
        """Sends an object. Raises BrokenPipeError if no process holds the other end."""
        self._check_closed()
        self._check_writable()
        self._handle.send(reduction.dumps(obj))

    def recv(self) -> Any:
        """The next object. Raises EOFError if no process holds the other end and nothing is left."""
        self._check_closed()
        self._check_readable()
        return reduction.loads(self._handle.recv())

    def _send_bytes(self, buf: Any) -> None:
        self._handle.send(bytes(buf))

    def _recv_bytes(self, maxsize: int | None = None) -> io.BytesIO | None:
        data = self._handle.recv()
        if maxsize is not None and len(data) > maxsize:
            return None
        buffer = io.BytesIO(data)
        buffer.seek(0, io.SEEK_END)  # as CPython's reader leaves it
        return buffer

    def _poll(self, timeout: float | None) -> bool:
        return self._handle.poll(timeout)

    def _close(self) -> None:
        self._handle.close()

    def __reduce__(self) -> Any:
        popen: Any = context.get_spawning_popen()
        if self.closed and popen is not None and popen.method == "fork":
            return _remake_closed, (self._readable, self._writable)
        self._check_closed()
        channel, lent = self._handle, ""
        if popen is not None:
            popen.hold(channel, channel.end)
        else:
            # Pickled in a message: the end must exist until the message is received.
            lent = f"t{_core.new_id()}"
            channel.transfer_ref(lent)
            # The message may travel by another way than the store, and arrive before what was posted.
            _core.settle()
        return _rebuild, (channel.id, channel.end, self._readable, self._writable, lent)


def _rebuild(ident: str, end: int, readable: bool, writable: bool, lent: str) -> Connection:
    channel = _core.Channel(ident, end)
    if lent:
        channel.accept_ref(lent)
    return Connection(channel, readable, writable)


def _remake_closed(readable: bool, writable: bool) -> Connection:
    return Connection(None, readable, writable)


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Two connected ends. Without `duplex` the first only receives and the second only sends."""
    session.ensure()
    first, second = _core.Channel.pair(config.pipe_size())
    return Connection(first, writable=duplex), Connection(second, readable=duplex)


def wait(object_list: Any, timeout: float | None = None) -> list[Any]:
    """CPython's function. It looks at all of our connections in one round trip."""
    objects = list(object_list)
    ours = [one for one in objects if isinstance(one, Connection)]
    for one in ours:
        one._check_closed()
    descriptors: dict[Connection, int] = {}
    is_ready = False
    if ours:
        numbers, is_ready = _core.Channel.filenos([one._handle for one in ours])
        descriptors = dict(zip(ours, numbers, strict=True))
    own = {descriptor: one for one, descriptor in descriptors.items()}
    ready = _wait([descriptors[one] if isinstance(one, Connection) else one for one in objects], timeout)
    if timeout != 0 and not is_ready and _core.is_open():
        _core.look_around()
    return [own.get(one, one) if isinstance(one, int) else one for one in ready]


# The addresses in the store at which this process knows that nobody listens any more.
_closed: set[str] = set()
_MOST_CLOSED = 4096


def note_closed(address: str) -> None:
    """Notes that the listener at an address in the store was closed."""
    if len(_closed) >= _MOST_CLOSED:
        _closed.clear()
    _closed.add(address)


class _StoreListener:
    """The transport of a `Listener`: a pipe into which clients put their ends."""

    def __init__(self) -> None:
        session.ensure()
        # Keeps both ends, so that a client that leaves causes no end of file.
        self._channel, self._clients = _core.Channel.pair(config.pipe_size())
        # Other processes may learn the address by another way than the store.
        _core.settle()
        self._address = _FAMILY + self._channel.id
        self._last_accepted: str | None = None
        self._unlink = None

    def accept(self) -> Connection:
        connection: Connection = reduction.loads(self._channel.recv())
        self._last_accepted = ""  # as of a socket without a name
        return connection

    def close(self) -> None:
        self._channel.close()
        self._clients.close()
        note_closed(self._address)

    def __getstate__(self) -> Any:
        popen: Any = context.get_spawning_popen()
        if popen is None:
            message = "a listener can be passed only to a process that is being started"
            raise RuntimeError(message)
        popen.hold(self._channel, 0)
        popen.hold(self._clients, 1)
        return self._channel.id

    def __setstate__(self, ident: str) -> None:
        self._channel, self._clients = _core.Channel(ident, 0), _core.Channel(ident, 1)
        self._address = _FAMILY + ident
        self._last_accepted = None
        self._unlink = None


class Listener(connection.Listener):
    """CPython's class. Without address and family, or with an address in the store, it listens in the store."""

    def __init__(self, address: Any = None, family: Any = None, backlog: int = 1, authkey: Any = None) -> None:
        if family is None and address is None:
            if authkey is not None and not isinstance(authkey, bytes):
                message = "authkey should be a byte string"
                raise TypeError(message)
            self._listener: Any = _StoreListener()
            self._authkey = authkey
        else:
            super().__init__(address, family, backlog, authkey)


def Client(address: Any, family: Any = None, authkey: Any = None) -> Any:
    """Connects to a listener. If the store has no such listener, it raises FileNotFoundError if this process knows that it was
    closed, else ConnectionRefusedError.
    """
    if family is not None or not isinstance(address, str) or not address.startswith(_FAMILY):
        return connection_client(address, family, authkey)
    if authkey is not None and not isinstance(authkey, bytes):
        message = "authkey should be a byte string"
        raise TypeError(message)
    session.ensure()
    mine = beside.connect(address) or _connect(address)
    if authkey is not None:
        connection.answer_challenge(mine, authkey)
        connection.deliver_challenge(mine, authkey)
    return mine


def _connect(address: str) -> Connection:
    mine, theirs = Pipe()
    try:
        clients = _core.Channel(address.removeprefix(_FAMILY), 1)
        clients.send(reduction.dumps(theirs))
    except ConnectionError:
        mine.poll()  # raises if it is the session that is gone
        number = errno.ENOENT if address in _closed else errno.ECONNREFUSED
        raise OSError(number, os.strerror(number)) from None
    theirs.close()
    return mine


# CPython's functions, kept here since `install()` replaces them.
connection_client, _wait = connection.Client, connection.wait
ForkingPickler.register(Connection, Connection.__reduce__)
public_names.complete(__name__)

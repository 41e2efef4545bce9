"""Counterpart of `multiprocessing.managers`: CPython's managers, whose server listens in the store.

A worker on any machine can therefore reach the server. A manager that is given a TCP or UNIX address listens there, as in
CPython. The server process always runs beside its parent, which has connections to it without the store.
"""

from __future__ import annotations

import socket
import threading
from multiprocessing import managers
from multiprocessing.managers import BaseProxy, DictProxy, ListProxy, Namespace, NamespaceProxy, RemoteError, Token
from typing import Any

from . import connection, context, shared_memory
from .local import beside
from .pool import Pool
from .stdlib import public_names
from .stdlib.rebind import rebound

__all__ = ["BaseManager", "BaseProxy", "DictProxy", "ListProxy", "Namespace", "NamespaceProxy", "RemoteError"]
__all__ += ["SharedMemoryManager", "SyncManager", "Token"]

# Our transport, besides the two of CPython. It also accepts their addresses.
_TRANSPORT = "serverless-mp"
managers.listener_client[_TRANSPORT] = (connection.Listener, connection.Client)
_base_init, _base_finalize = managers.BaseManager.__init__, managers.BaseManager._finalize_manager
_base_start, _base_accepter = managers.BaseManager.start, managers.Server.accepter
# In a server: the socket to the process that has started it.
_link: socket.socket | None = None


def _begin_server(link: socket.socket, initializer: Any, initargs: Any) -> None:
    """The initializer of a server."""
    global _link  # noqa: PLW0603 - a process has one
    _link = link
    if initializer is not None:
        initializer(*initargs)


class Server(managers.Server):
    """CPython's server, which also serves the process that has started it."""

    def accepter(self) -> None:
        """Accepts connections; `serve_forever` begins it when all is there that a request may need."""
        global _link  # noqa: PLW0603 - a process has one
        if _link is not None:
            threading.Thread(target=beside.serve, args=(_link, self.handle_request), daemon=True).start()
            _link = None
        _base_accepter(self)


class BaseManager(managers.BaseManager):
    """CPython's class, with our transport as the default."""

    _Server = Server

    def __init__(
        self, address: Any = None, authkey: Any = None, serializer: str = "pickle", ctx: Any = None, **options: Any
    ) -> None:
        transport = _TRANSPORT if serializer == "pickle" else serializer
        # Called by name and not by super(): CPython's SharedMemoryManager also calls this, though it is not a subclass.
        _base_init(self, address, authkey, transport, ctx or context.default.get_context(), **options)

    def start(self, initializer: Any = None, initargs: Any = ()) -> None:
        """Starts the server's process."""
        is_callable = initializer is None or callable(initializer)
        is_in_store = self._serializer == _TRANSPORT and self._address is None and isinstance(self._ctx, context.Factories)
        if not is_in_store or not issubclass(self._Server, Server) or not is_callable:
            _base_start(self, initializer, initargs)
            return
        link, theirs = socket.socketpair()
        try:
            with theirs:
                _base_start(self, _begin_server, (theirs, initializer, initargs))
        except BaseException:
            link.close()
            _end(getattr(self, "_process", None))
            raise
        beside.note(self._address, link)

    @staticmethod
    def _finalize_manager(process: Any, address: Any, *rest: Any) -> None:
        try:
            _base_finalize(process, address, *rest)
        except BaseException:
            _end(process)
            raise
        finally:
            beside.forget(address)
            connection.note_closed(address)


def _end(process: Any) -> None:
    """Ends a server that nobody can tell to end any more: at its own end, this process would wait for it."""
    if process is not None and process.pid is not None:
        process.terminate()


class SyncManager(BaseManager, managers.SyncManager):
    """CPython's class, with all its types."""


class _Tracker(managers._SharedMemoryTracker):  # type: ignore[name-defined,misc]
    """Tracks the blocks that a manager has created."""

    destroy_segment = rebound(managers._SharedMemoryTracker.destroy_segment, shared_memory=shared_memory)


class _SharedMemoryServer(Server, managers.SharedMemoryServer):
    """CPython's server, which unlinks our blocks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shared_memory_context = _Tracker(self.shared_memory_context.shared_memory_context_name)


class SharedMemoryManager(BaseManager, managers.SharedMemoryManager):
    """CPython's class, which creates our blocks."""

    _Server = _SharedMemoryServer
    SharedMemory = rebound(managers.SharedMemoryManager.SharedMemory, shared_memory=shared_memory)
    ShareableList = rebound(managers.SharedMemoryManager.ShareableList, shared_memory=shared_memory)


# Our Pool is registered: CPython's class cannot be pickled once `install()` has replaced it under its name.
SyncManager.register("Pool", Pool, managers.PoolProxy)

public_names.complete(__name__)

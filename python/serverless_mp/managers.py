"""Counterpart of `multiprocessing.managers`: CPython's managers, whose server listens in the store.

A worker on any machine can therefore reach the server. A manager that is given a TCP or UNIX address listens there, as in
CPython. The server process always runs beside its parent.
"""

from __future__ import annotations

from multiprocessing import managers
from multiprocessing.managers import BaseProxy, DictProxy, ListProxy, Namespace, NamespaceProxy, RemoteError, Token
from typing import Any

from . import connection, context, shared_memory
from .pool import Pool
from .stdlib import public_names
from .stdlib.rebind import rebound

__all__ = ["BaseManager", "BaseProxy", "DictProxy", "ListProxy", "Namespace", "NamespaceProxy", "RemoteError"]
__all__ += ["SharedMemoryManager", "SyncManager", "Token"]

# Our transport, besides the two of CPython. It also accepts their addresses.
_TRANSPORT = "serverless-mp"
managers.listener_client[_TRANSPORT] = (connection.Listener, connection.Client)  # type: ignore[attr-defined]
_base_init = managers.BaseManager.__init__


class BaseManager(managers.BaseManager):
    """CPython's class, with our transport as the default."""

    def __init__(
        self, address: Any = None, authkey: Any = None, serializer: str = "pickle", ctx: Any = None, **options: Any
    ) -> None:
        transport = _TRANSPORT if serializer == "pickle" else serializer
        # Called by name and not by super(): CPython's SharedMemoryManager also calls this, though it is not a subclass.
        _base_init(self, address, authkey, transport, ctx or context.default.get_context(), **options)


class SyncManager(BaseManager, managers.SyncManager):
    """CPython's class, with all its types."""


class _Tracker(managers._SharedMemoryTracker):  # type: ignore[name-defined,misc]
    """Tracks the blocks that a manager has created."""

    destroy_segment = rebound(managers._SharedMemoryTracker.destroy_segment, shared_memory=shared_memory)  # type: ignore[attr-defined]


class _SharedMemoryServer(managers.SharedMemoryServer):
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
SyncManager.register("Pool", Pool, managers.PoolProxy)  # type: ignore[attr-defined]

public_names.complete(__name__)

"""As `multiprocessing.managers`: CPython's managers, whose server listens in the store.

So a worker on any machine reaches it. A manager that is given a TCP or UNIX address listens there, as in CPython. The server
process always runs beside its parent.
"""

from __future__ import annotations

from multiprocessing import managers
from multiprocessing.managers import BaseProxy, DictProxy, ListProxy, Namespace, NamespaceProxy, RemoteError, Token
from typing import Any

from . import connection, context
from .pool import Pool

__all__ = ["BaseManager", "BaseProxy", "DictProxy", "ListProxy", "Namespace", "NamespaceProxy", "RemoteError"]
__all__ += ["SyncManager", "Token"]

# A transport of our own beside CPython's two. Ours takes their addresses as well.
_TRANSPORT = "serverless-mp"
managers.listener_client[_TRANSPORT] = (connection.Listener, connection.Client)  # type: ignore[attr-defined]
_base_init = managers.BaseManager.__init__


class BaseManager(managers.BaseManager):
    """CPython's, with our transport as the default."""

    def __init__(
        self, address: Any = None, authkey: Any = None, serializer: str = "pickle", ctx: Any = None, **options: Any
    ) -> None:
        transport = _TRANSPORT if serializer == "pickle" else serializer
        # By name, not by super(): CPython's SharedMemoryManager calls this, too, and is no subclass of it.
        _base_init(self, address, authkey, transport, ctx or context.default.get_context(), **options)


class SyncManager(BaseManager, managers.SyncManager):
    """CPython's, with all its types."""


# By its own name: what `install()` has replaced cannot be pickled by CPython's.
SyncManager.register("Pool", Pool, managers.PoolProxy)  # type: ignore[attr-defined]

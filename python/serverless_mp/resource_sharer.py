"""Counterpart of `multiprocessing.resource_sharer`: sends an open descriptor, such as a socket, to another process.

CPython's class, which listens on a UNIX socket: a descriptor cannot travel through the store, only to a process of this
machine.
"""

from __future__ import annotations

import threading
from multiprocessing import connection, process, resource_sharer, util
from multiprocessing.resource_sharer import DupFd
from typing import Any

from .stdlib import public_names

__all__ = ["DupFd", "stop"]


class ResourceSharer(resource_sharer._ResourceSharer):  # type: ignore[name-defined,misc]
    """CPython's class, listening at a UNIX socket whose address it chooses itself."""

    def _start(self) -> None:
        util.debug("starting listener and thread for sending handles")
        address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
        self._listener: Any = connection.Listener(address, authkey=process.current_process().authkey, backlog=128)
        self._address = self._listener.address
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()


_resource_sharer = ResourceSharer()
stop = _resource_sharer.stop

public_names.complete(__name__)

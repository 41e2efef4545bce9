"""The program's own `os.fork()`: silences CPython's warning about threads, if only ours run."""

from __future__ import annotations

import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_fork, _forkpty = os.fork, os.forkpty


def fork() -> int:
    """As `os.fork`."""
    return _call(_fork)


def forkpty() -> tuple[int, int]:
    """As `os.forkpty`."""
    return _call(_forkpty)


def _call(call: Callable[[], Any]) -> Any:
    if threading.active_count() > 1:
        return call()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        return call()


# Put in the place of the interpreter's own.
REPLACED = ((os, "fork", fork), (os, "forkpty", forkpty))

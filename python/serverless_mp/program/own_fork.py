"""The program's own `os.fork()`, without CPython's warning about threads if only our threads run."""

from __future__ import annotations

import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_fork, _forkpty = os.fork, os.forkpty


def fork() -> int:
    """Like `os.fork`."""
    return _call(_fork)


def forkpty() -> tuple[int, int]:
    """Like `os.forkpty`."""
    return _call(_forkpty)


def _call(call: Callable[[], Any]) -> Any:
    if threading.active_count() > 1:
        return call()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        return call()


# Replacements of the interpreter's functions.
REPLACED = ((os, "fork", fork), (os, "forkpty", forkpty))

"""Pauses the garbage collector while many objects are made that stay: it would find nothing, and take long."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _State:
    """How many threads pause the collector, and whether it was enabled before."""

    lock = threading.Lock()
    pauses = 0
    was_enabled = False


def is_enabled() -> bool:
    """Whether the program has enabled the collector."""
    with _State.lock:
        return _State.was_enabled if _State.pauses else gc.isenabled()


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Pauses the collector."""
    with _State.lock:
        if not _State.pauses:
            _State.was_enabled = gc.isenabled()
            gc.disable()
        _State.pauses += 1
    try:
        yield
    finally:
        with _State.lock:
            _State.pauses -= 1
            if not _State.pauses and _State.was_enabled:
                gc.enable()


def _after_fork() -> None:
    """In a child of the program's own `os.fork()`: the threads that pause the collector are not there."""
    _State.lock = threading.Lock()
    if _State.pauses:
        _State.pauses = 0
        if _State.was_enabled:
            gc.enable()


os.register_at_fork(after_in_child=_after_fork)

"""Keeps the program's trace functions from running while a start by fork reads its state.

They would be called for each step of ours, and may add to what is being read.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from serverless_mp.program import modules

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Paused(threading.local):
    """The trace and the profile function of a thread, while they are paused."""

    functions: tuple[Any, Any] = (None, None)


_paused = _Paused()


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Pauses the trace and the profile function of this thread, if they are the program's."""
    # A profiler in C is no function.
    functions: list[Any] = [sys.gettrace(), sys.getprofile()]
    trace, profile = (one if callable(one) and modules.is_of_program(one) else None for one in functions)
    if trace is not None:
        sys.settrace(None)
    if profile is not None:
        sys.setprofile(None)
    _paused.functions = trace, profile
    try:
        yield
    finally:
        _paused.functions = None, None
        if trace is not None:
            sys.settrace(trace)
        if profile is not None:
            sys.setprofile(profile)


def of_thread() -> tuple[Any, Any]:
    """The trace and the profile function of this thread that are paused."""
    return _paused.functions

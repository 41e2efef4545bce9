"""The rule of pickling: objects are pickled only while a process is launched, which then holds them.

Like `multiprocessing.context.assert_spawning`, and like the check of CPython's locks for a fork context.
"""

from __future__ import annotations

from multiprocessing import context
from typing import Any

from serverless_mp import _core


def check(obj: Any, fork: bool) -> Any:
    """Returns the popen that is launching. Raises RuntimeError if there is no launch, or if the start methods do not match."""
    context.assert_spawning(obj)
    popen: Any = context.get_spawning_popen()
    if fork and popen.method != "fork":
        message = (
            "A SemLock created in a fork context is being shared with a process in a spawn context. This is not "
            "supported. Please use the same context to create multiprocessing objects and Process."
        )
        raise RuntimeError(message)
    return popen


def hold(obj: Any, handle: Any, fork: bool = False) -> str:
    """Has the child hold the object of a handle from its start. Returns the object's id."""
    popen = check(obj, fork)
    if isinstance(handle, (_core.SemLock, _core.Region)):
        handle.share()  # it may have been private to this process
    popen.hold(handle)
    return handle.id

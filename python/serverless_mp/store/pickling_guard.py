"""The rule of pickling: only while a process is launched, which then holds what it was given.

As `multiprocessing.context.assert_spawning`, and as the check that CPython's locks make for a fork context.
"""

from __future__ import annotations

from multiprocessing import context
from typing import Any

from serverless_mp import _core


def is_fork(ctx: Any) -> bool:
    """Whether an object of this context belongs to processes of the start method `fork`."""
    return (ctx or context._default_context.get_context()).get_start_method() == "fork"  # type: ignore[attr-defined]


def check(obj: Any, fork: bool) -> Any:
    """The popen that is launching. Raises RuntimeError if there is no launch, or if the start methods do not mix."""
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
    """Keeps the handle's object until the child has attached. Returns the object's name."""
    popen = check(obj, fork)
    if isinstance(handle, (_core.SemLock, _core.Region)):
        handle.share()  # what was this process' alone
    popen.hold(handle)
    return handle.id

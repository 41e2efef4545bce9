"""The exit handlers of a worker: those that a fresh process would have."""

from __future__ import annotations

import atexit
import os
import sys
from multiprocessing import context, util
from typing import Any, NoReturn

from serverless_mp import _core

from . import finalization

# Before 3.13, only children of spawn, which are interpreters of their own, run their exit handlers. Since then all children do,
# and CPython leaves its own clean-up to these handlers.
_ALL_RUN = sys.version_info >= (3, 13)
_have_begun = False
_exit = os._exit


def exit_at_once(status: int) -> NoReturn:
    """Like `os._exit`. What was written under a lock that stays with this process is not lost."""
    _core.return_loans()
    _exit(status)


def begin() -> None:
    """Registers the handlers of a fresh process, once. Handlers that a preloaded zygote registers afterwards stay."""
    global _have_begun  # noqa: PLW0603 - one per process
    if _have_begun:
        return
    _have_begun = True
    os._exit = exit_at_once
    atexit._clear()
    if "logging" in sys.modules:
        atexit.register(sys.modules["logging"].shutdown)
    atexit.register(util._exit_function)  # type: ignore[attr-defined]


def run(process_obj: Any) -> None:
    """Runs the handlers, before the exit record is written. An interpreter of its own deletes its objects afterwards."""
    is_interpreter = context._default_context.get_start_method() == "spawn"  # type: ignore[attr-defined]
    if _ALL_RUN or is_interpreter:
        atexit._run_exitfuncs()
        util._flush_std_streams()  # type: ignore[attr-defined]
    if is_interpreter:
        finalization.run(process_obj)

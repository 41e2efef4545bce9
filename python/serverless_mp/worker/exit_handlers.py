"""The exit handlers of a worker, which are those of a fresh process."""

from __future__ import annotations

import atexit
import sys
from multiprocessing import util

# Until 3.12 only the children of spawn, interpreters of their own, run their exit handlers; since then all do, and CPython
# leaves its own clean-up to these.
_ALL_RUN = sys.version_info >= (3, 13)
_have_begun = False


def begin() -> None:
    """Registers them. Modules that were loaded before have registered theirs once; those of a preloaded zygote stay."""
    global _have_begun  # noqa: PLW0603 - one per process
    if _have_begun:
        return
    _have_begun = True
    atexit._clear()
    if "logging" in sys.modules:
        atexit.register(sys.modules["logging"].shutdown)
    atexit.register(util._exit_function)  # type: ignore[attr-defined]


def run(method: str) -> None:
    """Before the exit record. `method`: the start method."""
    if _ALL_RUN or method == "spawn":
        atexit._run_exitfuncs()
        util._flush_std_streams()  # type: ignore[attr-defined]

"""`__main__` in a worker: where it is no file that could be imported (a notebook, a session, `-c`), and who has it."""

from __future__ import annotations

import sys
import types
from typing import Any

# In a worker: whether the program's `__main__` has no file.
is_nowhere = False
# The places in modules that were imported before `__main__` was the program's, and hold the one that was there.
_followers: list[tuple[dict[str, Any], str]] = []


def note_followers() -> None:
    """In a zygote: who has its `__main__`. Of what the worker imports itself nobody has."""
    main = sys.modules["__main__"]
    spaces = [vars(module) for module in list(sys.modules.values()) if isinstance(module, types.ModuleType)]
    _followers.extend((space, name) for space in spaces for name, value in list(space.items()) if value is main)


def follow() -> None:
    """In a worker, where `__main__` has become the program's."""
    for space, name in _followers:
        space[name] = sys.modules["__main__"]


def has_no_file() -> bool:
    """In the program: whether this `__main__` has no file."""
    main = sys.modules["__main__"]
    return getattr(main, "__file__", None) is None and getattr(main, "__spec__", None) is None


def explain(error: BaseException) -> None:
    """In a worker: adds to an error of unpickling what to do where the main module is missing."""
    if is_nowhere and isinstance(error, AttributeError) and "__main__" in str(error):
        error.add_note(
            "serverless_mp: the program's main module is no file that a worker could import (a notebook, an interactive "
            "session): call multiprocessing.set_start_method('fork') first, or put what processes run into a module"
        )

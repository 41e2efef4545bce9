"""`__main__` in a worker: whether it has a file (not in a notebook, a session, with `-c`), and references to it."""

from __future__ import annotations

import sys
import types
from typing import Any

from .introspect import attributes, is_a

# In a worker: whether the program's `__main__` has no file.
is_nowhere = False
# Names in modules that were imported before `__main__` was the program's and that refer to the earlier `__main__`.
_followers: list[tuple[dict[str, Any], str]] = []


def note_followers() -> None:
    """In a zygote: records which modules refer to its `__main__`. Modules that a worker imports itself refer to the new one."""
    main = sys.modules["__main__"]
    spaces = [attributes(module) for module in list(sys.modules.values()) if is_a(module, types.ModuleType)]
    _followers.extend((space, name) for space in spaces for name, value in list(space.items()) if value is main)


def follow() -> None:
    """In a worker: replaces these references after `__main__` has become the program's."""
    for space, name in _followers:
        space[name] = sys.modules["__main__"]


def has_no_file() -> bool:
    """In the program: whether this `__main__` has no file."""
    main = sys.modules["__main__"]
    return getattr(main, "__file__", None) is None and getattr(main, "__spec__", None) is None


def explain(error: BaseException) -> None:
    """In a worker: adds advice to an unpickling error that is caused by a missing main module."""
    if is_nowhere and isinstance(error, AttributeError) and "__main__" in str(error):
        error.add_note(
            "serverless_mp: the program's main module is no file that a worker could import (a notebook, an interactive "
            "session): call multiprocessing.set_start_method('fork') first, or put what processes run into a module"
        )

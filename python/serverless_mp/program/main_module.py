"""Where `__main__` is no file that a worker could import: a notebook, an interactive session, `-c`."""

from __future__ import annotations

import sys

# In a worker: whether the program's `__main__` has no file.
is_nowhere = False


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

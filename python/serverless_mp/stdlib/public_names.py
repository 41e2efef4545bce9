"""The public names of CPython's modules, in ours of the same names: those that are CPython's own stand there, too."""

from __future__ import annotations

import importlib
import sys


def complete(name: str) -> None:
    """Gives a module of ours the public names that CPython's of the same name has beside."""
    space = vars(sys.modules[name])
    theirs = importlib.import_module(f"multiprocessing.{name.rpartition('.')[2]}")
    for public, value in vars(theirs).items():
        if not public.startswith("_"):
            space.setdefault(public, value)

"""Completes our modules with the public names of CPython's modules of the same name."""

from __future__ import annotations

import importlib
import sys


def complete(name: str) -> None:
    """Adds to one of our modules the public names of CPython's module that it does not define."""
    space = vars(sys.modules[name])
    theirs = importlib.import_module(f"multiprocessing.{name.rpartition('.')[2]}")
    for public, value in vars(theirs).items():
        if not public.startswith("_"):
            space.setdefault(public, value)

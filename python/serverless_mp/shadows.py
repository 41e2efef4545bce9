"""Modules of the program that have names of the standard library's modules.

A program may have a `token.py` that it imports itself, or that nothing imports. This package needs the standard library's
`token`, among many others, which CPython's multiprocessing does not import. So where a directory of the program has such a
module, the package imports all that it may need beforehand, past that directory, and then forgets those names: each module here
keeps what it has imported, and the program imports its own.
"""

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Iterable

from . import hash_seed

# What was imported before this package.
_BEFORE = frozenset(sys.modules)
_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_STANDARD = os.path.dirname(os.path.realpath(os.__file__))
_INSTALLATIONS = ("site-packages", "dist-packages")
# Another package that this one needs.
_NEEDED = "packaging"
# What CPython's multiprocessing imports when its functions are called, and what this package imports so.
_LATE = ("heapq", "importlib.metadata", "importlib.resources", "logging", "queue", "string", "tempfile", "traceback", "zipfile")
# Packages that no running program needs.
_LEFT_OUT = ("command", "deploy")


def own_entries(path: Iterable[str]) -> list[str]:
    """The entries of a search path before the standard library that are no part of an installation."""
    own = []
    for entry in path:
        real = os.path.realpath(entry)
        if real == _STANDARD:
            break
        is_ours = real == os.path.dirname(os.path.realpath(_PACKAGE))
        if not (is_ours or real.endswith(_INSTALLATIONS) or real.startswith(os.path.dirname(_STANDARD) + os.sep)):
            own.append(entry)
    return own


def past_own(path: Iterable[str]) -> list[str]:
    """A search path with the program's own directories at its end: hooks of an interpreter's start may need them."""
    entries = list(path)
    own = own_entries(entries)
    return [entry for entry in entries if entry not in own] + own


def of_path(path: Iterable[str]) -> list[str]:
    """The names of the program's modules on a search path that stand in the place of modules which this package needs."""
    return _names(tuple(map(os.path.realpath, own_entries(path))))


@functools.lru_cache(8)
def _names(directories: tuple[str, ...]) -> list[str]:
    found: set[str] = set()
    for directory in directories:
        with contextlib.suppress(OSError):
            found.update(filter(None, (_module_of(directory, file) for file in os.listdir(directory))))
    return sorted(found)


def _module_of(directory: str, file: str) -> str:
    """The name of the module that is a file in a directory, if it is one of those; otherwise ''."""
    name, dot, kind = file.partition(".")
    if name not in sys.stdlib_module_names and name != _NEEDED:
        return ""
    is_module = kind == "py" or kind.endswith("so") if dot else os.path.isfile(os.path.join(directory, file, "__init__.py"))
    return name if is_module else ""


def avoid(entries: list[str]) -> None:
    """Imports all that this package needs past these directories, if they have modules of such names."""
    if shadowing := _names(tuple(map(os.path.realpath, entries))):
        set_apart(shadowing, entries)


def set_apart(shadowing: Iterable[str], entries: Iterable[str] = ()) -> None:
    """Imports all that this package needs past these directories, and then forgets these names of modules."""
    tops, path, skipped = {*shadowing}, list(sys.path), {*entries}
    kept = {name: module for name, module in sys.modules.items() if name in _BEFORE and name.partition(".")[0] in tops}
    own = {name: module for name, module in kept.items() if _is_in(module, skipped)}
    for name in own:
        del sys.modules[name]
    sys.path[:] = [entry for entry in path if entry not in skipped] + [entry for entry in path if entry in skipped]
    try:
        for name in [*_LATE, *_modules()]:
            with contextlib.suppress(Exception):  # one that needs another library
                importlib.import_module(name)
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.partition(".")[0] in tops and name not in kept]:
            del sys.modules[name]
        sys.modules.update(own)


def _is_in(module: object, entries: set[str]) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and any(os.path.abspath(file).startswith(os.path.abspath(entry) + os.sep) for entry in entries)


def _modules() -> list[str]:
    """The modules of this package, and what else it needs."""
    found = []
    for folder, folders, files in os.walk(_PACKAGE):
        folders[:] = [
            one for one in folders if one not in _LEFT_OUT and os.path.isfile(os.path.join(folder, one, "__init__.py"))
        ]
        above = os.path.relpath(folder, os.path.dirname(_PACKAGE)).replace(os.sep, ".")
        found += [f"{above}.{file[:-3]}" for file in files if file.endswith(".py") and not file.startswith("__")]
    return [_NEEDED, *sorted(found)]


if hash_seed.is_run() and not sys.flags.safe_path:
    # The directory of `python -m`, which the program's takes the place of later: meanwhile as for the installed command.
    sys.path[0] = os.path.dirname(sys.executable)
avoid(own_entries(sys.path))

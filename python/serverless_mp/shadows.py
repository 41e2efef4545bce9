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

# What was imported before this package.
_BEFORE = frozenset(sys.modules)
_PLACE = os.path.dirname(os.path.abspath(__file__))
_INSTALLATIONS = ("site-packages", "dist-packages")
# Another package that this one needs.
_NEEDED = "packaging"
# Modules of the standard library that functions of this package or of CPython's multiprocessing import when they are called.
_LATE = ("heapq", "importlib.metadata", "importlib.resources", "logging", "queue", "string", "tempfile", "traceback", "zipfile")


def own_entries(path: Iterable[str]) -> list[str]:
    """The entries of a search path that are not part of an installation."""
    installed = tuple(os.path.realpath(place) + os.sep for place in (sys.base_prefix, sys.prefix))
    own = []
    for entry in path:
        real = os.path.realpath(entry)
        is_installed = (
            real.endswith(_INSTALLATIONS) or os.path.dirname(_PLACE) == real or f"{real}{os.sep}".startswith(installed)
        )
        if not is_installed:
            own.append(entry)
    return own


@functools.lru_cache(8)
def of_path(path: tuple[str, ...]) -> list[str]:
    """The names of the program's modules on a search path that stand in the place of others."""
    return names(own_entries(path))


def names(entries: Iterable[str]) -> list[str]:
    """The names of the modules in these directories that stand in the place of modules which this package needs."""
    found: set[str] = set()
    for entry in entries:
        with contextlib.suppress(OSError):
            found.update(name for file in os.listdir(entry or ".") if (name := _module_of(entry, file)))
    return sorted(found & (sys.stdlib_module_names | {_NEEDED}))


def _module_of(entry: str, file: str) -> str:
    """The name of the module that is a file in a directory, or ''."""
    name, dot, kind = file.partition(".")
    is_module = kind == "py" or kind.endswith("so") if dot else os.path.isfile(os.path.join(entry, file, "__init__.py"))
    return name if is_module else ""


def avoid(entries: list[str]) -> None:
    """Imports all that this package needs past these directories, if they have modules of such names."""
    if shadowing := names(entries):
        set_apart(shadowing, entries)


def set_apart(shadowing: Iterable[str], entries: Iterable[str] = ()) -> None:
    """Imports all that this package needs past these directories, and then forgets these names of modules."""
    tops, path, skipped = {*shadowing}, list(sys.path), {*entries}
    kept = {name: module for name, module in sys.modules.items() if name in _BEFORE and name.partition(".")[0] in tops}
    own = {name: module for name, module in kept.items() if _is_in(module, skipped)}
    for name in own:
        del sys.modules[name]
    sys.path[:] = [entry for entry in path if entry not in skipped]
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
    for folder, folders, files in os.walk(_PLACE):
        folders[:] = [one for one in folders if os.path.isfile(os.path.join(folder, one, "__init__.py"))]
        above = os.path.relpath(folder, os.path.dirname(_PLACE)).replace(os.sep, ".")
        found += [f"{above}.{file[:-3]}" for file in files if file.endswith(".py") and not file.startswith("__")]
    return [_NEEDED, *sorted(found)]


avoid(own_entries(sys.path))

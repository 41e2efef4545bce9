"""The end of an interpreter, for workers that have none: under the start method `spawn` they delete the program's objects."""

from __future__ import annotations

import contextlib
import gc
import io
import sys
import threading
import types
import weakref
from typing import Any

from serverless_mp.program import modules
from serverless_mp.program.introspect import attributes, is_a

_FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
# The modules of the zygote, none of which is the program's.
_of_zygote: frozenset[str] = frozenset()


def begin() -> None:
    """Called before the worker imports anything."""
    global _of_zygote  # noqa: PLW0603 - one per process
    _of_zygote = frozenset(sys.modules)


def run(process_obj: Any) -> None:
    """Writes what open files hold; deletes what the program's modules and the process refer to, as far as nothing else does.

    As in CPython, most objects are deleted together with their modules, while these still have their names; a module that
    something else refers to loses its names. Nothing is deleted under a thread that still runs: in CPython it would be stopped.
    """
    _flush()  # the collector would close the descriptor of a file before its buffer
    if threading.active_count() == 1:
        for name in ("_target", "_args", "_kwargs"):
            vars(process_obj).pop(name, None)
        for module in _collected(_removed()):
            _clear(module)
        gc.collect()
        _flush()


def _removed() -> list[weakref.ref[types.ModuleType]]:
    """Removes the program's modules from `sys.modules`. Returns references to them, in the order of their imports."""
    new = {name: module for name, module in list(sys.modules.items()) if name in modules.OF_MAIN or name not in _of_zygote}
    found = {}
    for name, module in new.items():
        if is_a(module, types.ModuleType) and (name in modules.OF_MAIN or modules.is_own(module)):
            del sys.modules[name]
            found[id(module)] = weakref.ref(module)
    return list(found.values())


def _collected(removed: list[weakref.ref[types.ModuleType]]) -> list[types.ModuleType]:
    """The modules that are left after a collection, the one imported last first."""
    gc.collect()
    return [module for reference in reversed(removed) if (module := reference()) is not None]


def _clear(module: types.ModuleType) -> None:
    """Sets a module's names to None: first those that begin with one underscore."""
    space = attributes(module)
    for is_private in (True, False):
        for name in list(space):
            if name != "__builtins__" and is_private == (name.startswith("_") and not name.startswith("__")):
                space[name] = None


def _flush() -> None:
    for file in gc.get_objects():
        if is_a(file, _FILES):
            with contextlib.suppress(Exception):  # it is closed, or cannot be written
                file.flush()

"""The end of an interpreter, for workers that have none: under the start method `spawn` they delete the program's objects."""

from __future__ import annotations

import contextlib
import gc
import io
import signal
import sys
import threading
import time
import types
import weakref
from typing import Any

from serverless_mp.program import modules
from serverless_mp.program.introspect import attributes, is_a

_FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
# What has no destructor.
_REST = (types.ModuleType, types.FunctionType, type, int, float, complex, str, bytes, type(None))
# Seconds for a file in which another thread may be writing, as in CPython.
_PATIENCE = 1.0
# The attributes of a process that CPython uses itself.
_OF_PROCESS = frozenset(
    {
        *("_identity", "_config", "_parent_pid", "_parent_name", "_popen", "_closed", "_name", "_sentinel", "_ident"),
        *("_inheriting", "_start_method"),
    }
)
# The modules of the zygote, none of which is the program's.
_of_zygote: frozenset[str] = frozenset()


def begin() -> None:
    """Called before the worker imports anything."""
    global _of_zygote  # noqa: PLW0603 - one per process
    _of_zygote = frozenset(sys.modules)


def run(process_obj: Any) -> None:
    """Writes what open files hold; deletes what the program's modules and the process refer to, as far as nothing else does.

    As in CPython, handlers of signals are gone first. Most objects are deleted together with their modules, while these still
    have their names, and the process its arguments; a module that something else refers to loses its objects. Nothing is
    deleted under a thread that still runs: in CPython it would be stopped.
    """
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(Exception):
        if len(sys._current_frames()) > 1:
            _flush_beside_threads()
            return
        _flush()  # the collector would close the descriptor of a file before its buffer
        vars(process_obj).pop("_target", None)
        for space in _collected(_removed()):
            _clear(space)
        gc.collect()
        for name in vars(process_obj).keys() - _OF_PROCESS:
            del vars(process_obj)[name]
        gc.collect()
        _flush()


class _Mark:
    """Stands in a module's names, and lives as long as they do."""

    def __init__(self, space: dict[str, Any]) -> None:
        self.space = space


def _removed() -> list[weakref.ref[_Mark]]:
    """Removes the program's modules from `sys.modules`. Returns references to marks in their names, in the order of imports."""
    others = _of_zygote | sys.stdlib_module_names
    found = {}
    for name, module in list(sys.modules.items()):
        is_main = name in modules.OF_MAIN
        if not is_main and (name in others or name.partition(".")[0] in others):
            continue
        if is_a(module, types.ModuleType) and (is_main or modules.is_own(module)):
            del sys.modules[name]
            for space in _spaces(attributes(module)):
                found[id(space)] = weakref.ref(space.setdefault(_Mark.__qualname__, _Mark(space)))
    return list(found.values())


def _spaces(space: dict[str, Any]) -> list[dict[str, Any]]:
    """The names of a module; those that its functions use may be others, since spawn copies those of `__main__`."""
    functions = [value for value in list(space.values()) if is_a(value, types.FunctionType)]
    return [space, *(one.__globals__ for one in functions if one.__globals__.get("__name__") == space.get("__name__"))]


def _collected(removed: list[weakref.ref[_Mark]]) -> list[dict[str, Any]]:
    """The names of modules that are left after a collection, those of the module imported last first."""
    gc.collect()
    return [mark.space for reference in reversed(removed) if (mark := reference()) is not None]


def _clear(space: dict[str, Any]) -> None:
    """Sets a module's objects to None, first those whose names begin with one underscore. Destructors may use the rest."""
    for is_private in (True, False):
        for name, value in list(space.items()):
            if is_private == (name.startswith("_") and not name.startswith("__")) and not is_a(value, _REST):
                space[name] = None


def _files() -> list[Any]:
    """All open files with a buffer. The streams may be older than what the collector knows."""
    return [*(file for file in gc.get_objects() if is_a(file, _FILES)), sys.__stdout__, sys.__stderr__]


def _flush() -> None:
    for file in _files():
        _flush_one(file)


def _flush_one(file: Any) -> None:
    with contextlib.suppress(Exception):  # it is closed, or cannot be written
        file.flush()


def _flush_beside_threads() -> None:
    """The same while other threads run, one of which may hold the lock of a file for long."""
    flushing = [threading.Thread(target=_flush_one, args=(file,), daemon=True) for file in _files()]
    for thread in flushing:
        thread.start()
    end = time.monotonic() + _PATIENCE
    for thread in flushing:
        thread.join(max(0, end - time.monotonic()))

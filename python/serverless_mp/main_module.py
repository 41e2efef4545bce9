"""How `__main__` travels where a program forks: as one module, rebuilt, not executed again.

A program that forks relies on what `__main__` was at that moment: functions, classes, and globals set by code that must not
run twice. So the worker gets a `__main__` with all its functions, classes and imports and with the globals that any of them
names, in one pickle, before the process object; from then on everything of `__main__` travels by name, both ways, and so is
one and the same for `is`, `isinstance`, `except` and `global`. Only lambdas and nested functions go by value, bound to it.

A global that cannot be pickled stays behind; its use in the worker raises an error which says so. What was set in the other
modules of the program travels in the same pickle (`reach` says which), so that what two of them share stays one object.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
import sys
import types
from collections import ChainMap
from multiprocessing.reduction import ForkingPickler
from typing import IO, Any, ClassVar

import cloudpickle

from . import reach

_GLOBALS = "the globals of __main__"
# What cloudpickle writes in its place.
_NO_FILE = "<dynamic-code>"
_OWN = {"__file__", "__name__", "__doc__", "__package__", "__annotations__"}


def _reduce_code(code: types.CodeType) -> Any:
    """As cloudpickle, which leaves out the file; tracebacks in a worker are to name it."""
    make, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return make, tuple(code.co_filename if argument == _NO_FILE else argument for argument in arguments)


class ForkPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """By name what `__main__` has under its name, by value lambdas and nested functions."""

    # On the class: the C base takes it from there when it is made.
    dispatch_table: ClassVar[Any] = ChainMap(
        {types.CodeType: _reduce_code},
        ForkingPickler._extra_reducers,  # type: ignore[attr-defined]
        cloudpickle.Pickler.dispatch_table,
    )

    def __init__(self, file: Any, known: dict[str, Any], by_name: bool) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._by_name = by_name
        self._globals = sys.modules["__main__"].__dict__
        self._known = known
        self.globals_ref[id(self._globals)] = self._globals

    def persistent_id(self, obj: Any) -> str | None:
        """The globals themselves are not content: functions find those of the worker."""
        return _GLOBALS if obj is self._globals else None

    def reducer_override(self, obj: Any) -> Any:
        """By name where the worker has it."""
        is_main_s = isinstance(obj, (type, types.FunctionType)) and obj.__module__ == "__main__"
        if self._by_name and is_main_s and self._is_known(obj):
            return NotImplemented
        reduced = super().reducer_override(obj)
        if isinstance(obj, types.FunctionType) and obj.__globals__ is self._globals:
            # Most of what it names comes with `__main__`, once for all.
            named = reduced[2][1]["__globals__"]
            reduced[2][1]["__globals__"] = {name: named[name] for name in named if name not in self._known}
        return reduced

    def _is_known(self, obj: Any) -> bool:
        name, _, rest = obj.__qualname__.partition(".")
        found = self._known.get(name)
        for part in rest.split(".") if rest else ():
            found = getattr(found, part, None)
        return found is obj


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: str) -> Any:  # noqa: ARG002 - there is only one
        return sys.modules["__main__"].__dict__


class Missing:
    """Stands in the worker for a global that could not travel."""

    def __init__(self, why: str) -> None:
        object.__setattr__(self, "_why", why)

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError(object.__getattribute__(self, "_why"))

    __getattr__ = __call__ = __iter__ = __len__ = __getitem__ = __setitem__ = __enter__ = __exit__ = __bool__ = _raise
    __setattr__ = _raise  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        return Missing, (object.__getattribute__(self, "_why"),)


def dump(process_obj: Any) -> bytes:
    """This program's `__main__`, and what was set in its other modules, for a worker that is to run a process.

    While it is launched, so that locks and queues can come along.
    """
    wanted = _wanted(sys.modules["__main__"].__dict__)
    parts = [process_obj, process_obj._target, *process_obj._args, *process_obj._kwargs.values(), *wanted.values()]
    modules = reach.globals_of_modules(parts)
    try:
        return _dump({"main": wanted, "modules": modules})
    except Exception:  # noqa: BLE001 - some of them cannot travel; which, and why, is found one by one
        wanted = {name: _or_missing(name, value) for name, value in wanted.items()}
        modules = {name: {key: v for key, v in values.items() if _travels(v)} for name, values in modules.items()}
        return _dump({"main": wanted, "modules": modules})


def _dump(content: Any) -> bytes:
    buffer = io.BytesIO()
    ForkPickler(buffer, sys.modules["__main__"].__dict__, by_name=False).dump(content)
    return buffer.getvalue()


def _or_missing(name: str, value: Any) -> Any:
    try:
        _dump(value)
    except Exception as e:  # noqa: BLE001 - whatever it raises is the reason
        return Missing(f"global {name!r} of __main__ could not travel to the worker: {type(e).__name__}: {e}")
    return value


def _travels(value: Any) -> bool:
    """Of a module that the worker imports: what cannot travel is there as at its import."""
    try:
        _dump(value)
    except Exception:  # noqa: BLE001 - whatever it raises
        return False
    return True


def pickle_object(obj: Any, file: Any) -> None:
    """Writes an object for a worker that has this program's `__main__`."""
    ForkPickler(file, _wanted(sys.modules["__main__"].__dict__), by_name=True).dump(obj)


def dumps(obj: Any) -> bytes:
    """Pickles an object for a process that has this program's `__main__`."""
    buffer = io.BytesIO()
    pickle_object(obj, buffer)
    return buffer.getvalue()


def load(data: bytes, file: str | None = None) -> None:
    """In a worker: becomes its `__main__`; `file` is where its script is on this machine, if that is another one."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    content = load_object(io.BytesIO(data))
    main.__dict__.update(content["main"])
    if file is not None:
        main.__file__ = file
    for name, values in content["modules"].items():
        with contextlib.suppress(ImportError):  # one that was never imported by its name
            space = vars(importlib.import_module(name))
            space.update({key: _refilled(space.get(key), value) for key, value in values.items()})


def _refilled(known: Any, value: Any) -> Any:
    """A container stays the object that other names may stand for, with new content."""
    if type(known) is type(value) and isinstance(value, (dict, list, set)):
        known.clear()
        known.extend(value) if isinstance(value, list) else known.update(value)
        return known
    return value


def load_object(file: IO[bytes]) -> Any:
    """The next object, bound to the `__main__` of this process."""
    return _Unpickler(file).load()


def _wanted(space: dict[str, Any]) -> dict[str, Any]:
    """Functions, classes and modules, and the globals that the functions name, methods and nested ones included."""
    wanted = {name: space[name] for name in _OWN if name in space}
    used = reach.named(space, "__main__")
    for name, value in list(space.items()):
        is_code = isinstance(value, (types.FunctionType, type, types.ModuleType))
        if (is_code or name in used) and not name.startswith("__"):
            wanted[name] = value
    return wanted

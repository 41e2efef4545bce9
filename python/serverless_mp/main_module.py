"""How `__main__` travels where a program forks: as one module, rebuilt, not executed again.

A program that forks relies on what `__main__` was at that moment: functions, classes, and globals set by code that must not
run twice. So the worker gets a `__main__` with all its functions, classes and imports and with the globals that any of them
names, in one pickle, before the process object; from then on everything of `__main__` travels by name, both ways, and so is
one and the same for `is`, `isinstance`, `except` and `global`. Only lambdas and nested functions go by value, bound to it.

A global that cannot be pickled stays behind; its use in the worker raises an error which says so.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections import ChainMap
from multiprocessing.reduction import ForkingPickler
from typing import IO, Any, ClassVar

import cloudpickle

_GLOBALS = "the globals of __main__"
_OWN = {"__file__", "__name__", "__doc__", "__package__", "__annotations__"}


class ForkPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """By name what `__main__` has under its name, by value lambdas and nested functions."""

    # On the class: the C base takes it from there when it is made.
    dispatch_table: ClassVar[Any] = ChainMap(ForkingPickler._extra_reducers, cloudpickle.Pickler.dispatch_table)  # type: ignore[attr-defined]

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


def dump() -> bytes:
    """This program's `__main__` for a worker; while a process is launched, so that locks and queues can come along."""
    wanted = _wanted(sys.modules["__main__"].__dict__)
    try:
        return _dump(wanted)
    except Exception:  # noqa: BLE001 - some of them cannot travel; which, and why, is found one by one
        return _dump({name: _or_missing(name, value) for name, value in wanted.items()})


def _dump(wanted: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    ForkPickler(buffer, sys.modules["__main__"].__dict__, by_name=False).dump(wanted)
    return buffer.getvalue()


def _or_missing(name: str, value: Any) -> Any:
    try:
        _dump({name: value})
    except Exception as e:  # noqa: BLE001 - whatever it raises is the reason
        return Missing(f"global {name!r} of __main__ could not travel to the worker: {type(e).__name__}: {e}")
    return value


def pickle_object(obj: Any, file: Any) -> None:
    """Writes an object for a worker that has this program's `__main__`."""
    ForkPickler(file, _wanted(sys.modules["__main__"].__dict__), by_name=True).dump(obj)


def load(data: bytes, file: str | None = None) -> None:
    """In a worker: becomes its `__main__`; `file` is where its script is on this machine, if that is another one."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    main.__dict__.update(load_object(io.BytesIO(data)))
    if file is not None:
        main.__file__ = file


def load_object(file: IO[bytes]) -> Any:
    """In a worker: the next object, bound to its `__main__`."""
    return _Unpickler(file).load()


def _wanted(space: dict[str, Any]) -> dict[str, Any]:
    """Functions, classes and modules, and the globals that the functions name, methods and nested ones included."""
    named: set[str] = set()
    wanted = {name: space[name] for name in _OWN if name in space}
    for name, value in space.items():
        if isinstance(value, (types.FunctionType, type, types.ModuleType)) and not name.startswith("__"):
            wanted[name] = value
            for code in _codes(value):
                named |= _names(code)
    wanted.update({name: space[name] for name in named if name in space and not name.startswith("__")})
    return wanted


def _codes(value: Any) -> list[types.CodeType]:
    """The code of a function or of a class' methods, if they are of `__main__`."""
    if getattr(value, "__module__", None) != "__main__":
        return []
    if isinstance(value, type):
        parts = [getattr(part, "fget", None) or getattr(part, "__func__", part) for part in vars(value).values()]
        return [code for part in parts for code in _codes(part)]
    code = getattr(value, "__code__", None)
    return [code] if code is not None else []


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names

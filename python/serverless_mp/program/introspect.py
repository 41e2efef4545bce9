"""Examines objects without running any code of the program."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def is_a(value: Any, kinds: Any) -> bool:
    """Like `isinstance`, but ignores `__class__`, which an object of the program may override."""
    return issubclass(type(value), kinds)


def is_of(value: Any, module: str, name: str) -> bool:
    """Whether a value is an object of this class of a library that may be missing, or of a class derived from it."""
    kind: Any = type(value)
    return bool(_kept(_derives_from, kind, module, name))


def _kept(function: Any, kind: Any, *arguments: Any) -> Any:
    """The result of a cached function, also for a class that cannot be hashed."""
    try:
        return function(kind, *arguments)
    except TypeError:
        return function.__wrapped__(kind, *arguments)


@functools.lru_cache(4096)
def _derives_from(kind: Any, module: str, name: str) -> bool:
    return any(one.__name__ == name and one.__module__ == module for one in kind.__mro__)


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object itself, without calling a `__getattr__` or a property of the program."""
    if not has_attributes(type(value)):  # an error for each such object would take long
        return {}
    try:
        kept = object.__getattribute__(value, "__dict__")
    except Exception:  # noqa: BLE001 - it has none, or hides them
        return {}
    return kept if type(kept) is dict else {}


def has_attributes(kind: Any) -> bool:
    """Whether objects of a class may have attributes of their own."""
    return bool(_kept(_has_attributes, kind))


@functools.lru_cache(4096)
def _has_attributes(kind: Any) -> bool:
    return kind.__dictoffset__ != 0 or any("__dict__" in vars(base) for base in kind.__mro__)


def module_of_class(kind: type) -> str:
    """The name of the module that a class says it comes from; '' if it says nothing, or only of its objects, by a property."""
    said = type.__getattribute__(kind, "__module__")
    return said if is_a(said, str) else ""


def module_of(value: Any) -> str:
    """The name of the module that a class, a function or an object says it comes from; that of an object's class if it says
    nothing.
    """
    kind = type(value)
    if issubclass(kind, type):
        return module_of_class(value)
    if issubclass(kind, types.MethodType):
        return module_of(value.__func__)
    is_function = issubclass(kind, (types.FunctionType, types.BuiltinFunctionType))
    said: Any = value.__module__ if is_function else attributes(value).get("__module__")
    return said if is_a(said, str) else module_of_class(kind)


def spec_of(module: Any) -> Any:
    """The spec of an entry of `sys.modules`, or None. A module that is loaded when it is first used stays as it is."""
    return attributes(module).get("__spec__") if is_a(module, types.ModuleType) else getattr(module, "__spec__", None)


def contents(cells: Iterable[types.CellType]) -> Iterator[Any]:
    """The contents of the cells that are filled."""
    for cell in cells:
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue

"""Types of ctypes that no import creates in a worker: the parts that are not attributes.

The rest of a structure is its attributes, as for any class (`classes`). Its fields are laid out once and for all when they are
set: after those of all types inside the structure, and before those of any type that contains it.
"""

from __future__ import annotations

import ctypes
import functools
import operator
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

# The base class of all ctypes objects.
DATA: Any = ctypes._SimpleCData.__base__
_FIRST: tuple[Any, ...] = (
    ctypes.Structure,
    ctypes.Union,
    ctypes.Array,
    ctypes._Pointer,
    ctypes._SimpleCData,
    ctypes._CFuncPtr,  # type: ignore[attr-defined]
)
# `_fields_`, the attributes that exist because of a definition, and the attributes that only the class statement can set.
_FIELDS = "_fields_"
_MADE = frozenset({"__ctype_le__", "__ctype_be__", "__pointer_type__"})
_DEFINITION = frozenset(
    f"_{name}_" for name in ("type", "length", "flags", "argtypes", "restype", "pack", "anonymous", "align", "layout")
)
Layout = list[tuple[type, Any]]


class _Later(NamedTuple):
    """A type that is created later: the function that creates it, and its arguments."""

    make: Callable[..., Any]
    arguments: tuple[Any, ...]


def definition_of(cls: Any) -> frozenset[str]:
    """The names of attributes that cannot be set after the class is created; none for any other class."""
    return _DEFINITION if issubclass(cls, DATA) else frozenset()


def made_of(cls: Any) -> frozenset[str]:
    """The names of attributes that a class gets by its definition."""
    return _DEFINITION | _MADE | {_FIELDS} if issubclass(cls, DATA) else frozenset()


# The types of objects that are addresses.
_ADDRESSES = (
    *(ctypes._Pointer, ctypes._CFuncPtr, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p, ctypes.py_object),  # type: ignore[attr-defined]
)


@functools.lru_cache(4096)
def has_addresses(cls: Any) -> bool:
    """Whether objects of a type are, or contain, addresses."""
    if issubclass(cls, ctypes.Array):
        return has_addresses(cls._type_)
    return issubclass(cls, _ADDRESSES) or any(has_addresses(kind) for _, kind in fields_of(cls))


def fields_of(cls: Any) -> list[tuple[Any, Any]]:
    """The fields of a structure, its bases' included, each as its descriptor and its type; none for any other type."""
    return [(vars(base)[name], kind) for base in cls.__mro__ for name, kind, *_ in vars(base).get(_FIELDS, ())]


class _Sample(ctypes.Structure):
    _fields_ = (("field", ctypes.c_int),)


FIELD: Any = type(vars(_Sample)["field"])


def reduce(cls: Any) -> Any:
    """The reduced form of a type that another type creates; None for one that a class statement creates."""
    if cls is DATA:
        return getattr, (ctypes._SimpleCData, "__base__")
    if issubclass(cls, DATA):
        return _reduce_data(cls)
    for first in _FIRST:  # the metaclasses have no names
        if issubclass(cls, type) and cls in type.mro(type(first)) and cls.__module__ == "_ctypes":
            return _metaclass, (first, type.mro(type(first)).index(cls))
    return None


def _metaclass(first: Any, number: int) -> Any:
    return type.mro(type(first))[number]


def _reduce_data(cls: Any) -> Any:
    kept = vars(cls)
    if kept.keys() >= {"__ctype_le__", "__ctype_be__"}:
        own, other = ("__ctype_le__", "__ctype_be__") if sys.byteorder == "little" else ("__ctype_be__", "__ctype_le__")
        return None if kept[own] is cls else (getattr, (kept[own], other))
    if issubclass(cls, ctypes.Array) and "_length_" in kept and cls is operator.mul(cls._type_, cls._length_):
        return _named, (operator.mul, (cls._type_, cls._length_), cls.__module__)
    if issubclass(cls, ctypes._Pointer) and "_type_" in kept and cls is ctypes.POINTER(cls._type_):
        return _named, (ctypes.POINTER, (cls._type_,), cls.__module__)
    if issubclass(cls, ctypes._CFuncPtr) and "_flags_" in kept:  # type: ignore[attr-defined]
        parts = (kept.get("_restype_"), kept.get("_argtypes_"), kept["_flags_"])
        if getattr(ctypes, "_c_functype_cache", {}).get(parts) is cls:
            return _function_type, parts
    return None


def _named(make: Any, arguments: Any, module: str) -> Any:
    """Assigns a new type to the module that created it first."""
    made = make(*arguments)
    if made.__module__ == __name__:
        made.__module__ = module
    return made


def _function_type(result: Any, arguments: tuple[Any, ...], flags: int) -> Any:
    use_errno, use_last_error = (bool(flags & flag) for flag in (ctypes._FUNCFLAG_USE_ERRNO, ctypes._FUNCFLAG_USE_LASTERROR))  # type: ignore[attr-defined]
    return ctypes.CFUNCTYPE(result, *arguments, use_errno=use_errno, use_last_error=use_last_error)


def layouts(cls: Any) -> Layouts:
    """The fields of a structure and of all structures in a cycle with it, in the order in which they must be set."""
    parts = {one: list(_parts_of(one)) for one in _reached(cls, lambda one: [part for part, _ in _parts_of(one)])}
    known_by: dict[Any, list[Any]] = {one: [] for one in parts}
    for one, inner in parts.items():
        for part, _ in inner:
            known_by[part].append(one)
    circle = _reached(cls, known_by.__getitem__)
    ordered: dict[Any, None] = {}

    def put(one: Any) -> None:
        if one in circle and one not in ordered:
            for part, lies_within in parts[one]:
                if lies_within:
                    put(part)
            ordered[one] = None

    for one in circle:
        put(one)
    laid_out = [one for one in ordered if _FIELDS in vars(one)]
    return Layouts(
        [(one, [(name, _described(kind, circle), *width) for name, kind, *width in vars(one)[_FIELDS]]) for one in laid_out]
    )


def _described(cls: Any, circle: Container[Any]) -> Any:
    """A field's type. If it is made of types of the cycle, a description of how to create it after these have their fields."""
    if cls not in circle or _FIELDS in vars(cls):
        return cls
    if issubclass(cls, ctypes.Array):
        return _Later(operator.mul, (_described(cls._type_, circle), cls._length_))
    if issubclass(cls, ctypes._Pointer):
        return _Later(ctypes.POINTER, (_described(cls._type_, circle),))
    parts = vars(cls)
    arguments = tuple(_described(part, circle) for part in parts.get("_argtypes_") or ())
    return _Later(_function_type, (_described(parts.get("_restype_"), circle), arguments, parts["_flags_"]))


def _made(kind: Any) -> Any:
    if isinstance(kind, _Later):
        return kind.make(*map(_made, kind.arguments))
    return tuple(map(_made, kind)) if isinstance(kind, tuple) else kind


def _reached(start: Any, steps: Callable[[Any], list[Any]]) -> dict[Any, None]:
    """All items reachable from a start, including the start."""
    found: dict[Any, None] = {}
    ahead = [start]
    while ahead:
        one = ahead.pop()
        if one not in found:
            found[one] = None
            ahead += steps(one)
    return found


def _parts_of(cls: Any) -> Iterator[tuple[Any, bool]]:
    """The types that a type is made of, and whether an object of it contains an object of that type."""
    kept = vars(cls)
    for base in cls.__bases__:
        if issubclass(base, DATA):
            yield base, True
    for field in kept.get(_FIELDS, ()):
        yield field[1], True
    known = [kept.get("_type_"), kept.get("_restype_"), *(kept.get("_argtypes_") or ())]
    for part in known:
        if isinstance(part, type) and issubclass(part, DATA):
            yield part, issubclass(cls, ctypes.Array)


class Layouts:
    """The fields of some structures. They are set when this is read, before any object of the structures is."""

    def __init__(self, parts: Layout) -> None:
        self._parts = parts

    def __reduce__(self) -> Any:
        return _lay_out, (self._parts,)


def _lay_out(parts: Layout) -> None:
    """Sets the fields of the structures that have none yet."""
    for cls, fields in parts:
        if _FIELDS not in vars(cls):
            kind = type(ctypes.Structure if issubclass(cls, ctypes.Structure) else ctypes.Union)
            kind.__setattr__(cls, _FIELDS, [(name, _made(described), *width) for name, described, *width in fields])

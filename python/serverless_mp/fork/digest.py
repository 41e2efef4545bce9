"""The digest of a value: equal in two processes that hold the same value. It ignores identity and has bounded cost."""

from __future__ import annotations

import _thread
import enum
import hashlib
import operator
import types
from array import array  # these are imported by name: a program may put mocks in their places
from collections import deque
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from serverless_mp.program.introspect import attributes, contents, is_a

from . import c_objects, c_types, objects, places
from .comparison import ATOMS

if TYPE_CHECKING:
    from collections.abc import Callable

_DEPTH = 4
_NODES = 4000
_LONG = 200
_BUILTIN_FUNCTIONS = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)


class Digest:
    """The digest of a value. `value` is equal in two processes that have the same at a place.

    The digest remembers the containers that it was computed from, and so can tell whether it must be computed again.
    """

    __slots__ = ("_containers", "_left", "value")

    def __init__(self, value: Any) -> None:
        self._left = _NODES
        # Each entry: a container, the function that reads its parts, and the parts when it was read.
        self._containers: list[tuple[Any, Callable[[Any], list[Any]], list[Any]]] = []
        text = repr(self._shape(value, _DEPTH))
        self.value = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()

    def is_fixed(self) -> bool:
        """Whether nothing that the digest was computed from can change."""
        return not self._containers

    def still_holds(self) -> bool:
        """Whether all containers still have exactly the same parts."""
        for container, read, parts in self._containers:
            now = read(container)
            # Most parts are the same objects, which is quickly seen.
            if not same(parts, now) and not (len(parts) == len(now) and all(map(_is_as, parts, now))):
                return False
        return True

    def _watch(self, container: Any, read: Callable[[Any], list[Any]]) -> list[Any]:
        """The parts of a container, which is remembered for `still_holds`."""
        parts = read(container)
        self._containers.append((container, read, parts))
        return parts

    def _shape(self, value: Any, depth: int) -> Any:  # noqa: C901, PLR0911, PLR0912 - a case for each kind
        kind = type(value)
        self._left -= 1
        places.Counter.visited += 1
        if kind in ATOMS:
            is_long = kind in (str, bytes) and len(value) > _LONG
            return (len(value), hashlib.blake2b(_raw(value)).digest()) if is_long else value
        if kind is types.FunctionType:
            code = value.__code__
            place = "function", code.co_filename, code.co_firstlineno, code.co_qualname
            if depth == 0 or value.__closure__ is None or depth == _DEPTH:  # a function at a place has places of its own
                return place
            return *place, *(self._shape(part, depth - 1) for part in self._watch(value, _variables))
        if issubclass(kind, type):
            return "class", *places.home(value)
        if kind is types.ModuleType:
            return "module", value.__name__
        if issubclass(kind, _BUILTIN_FUNCTIONS):
            owner = getattr(value, "__self__", None)
            return kind.__name__, *places.home(value), "" if is_a(owner, types.ModuleType) else type(owner).__qualname__
        if issubclass(kind, enum.Enum):
            return "member", *places.home(kind), value._name_
        if depth == 0 or self._left <= 0:
            return kind.__module__, kind.__qualname__
        if issubclass(kind, types.MethodType):
            return kind.__name__, self._shape(value.__func__, depth - 1), self._shape(value.__self__, depth - 1)
        if issubclass(kind, (staticmethod, classmethod)):
            return kind.__name__, self._shape(value.__func__, depth - 1)
        if issubclass(kind, property):
            return kind.__name__, *(self._shape(part, depth - 1) for part in (value.fget, value.fset, value.fdel))
        if issubclass(kind, partial):
            return kind.__name__, *(self._shape(part, depth - 1) for part in (value.func, value.args, value.keywords))
        if c_objects.parts_of(value) is not None:
            parts = self._watch(value, c_objects.parts_of)  # type: ignore[arg-type] # they are some
            return kind.__name__, *(self._shape(part, depth - 1) for part in parts)
        return kind.__module__, kind.__qualname__, self._items(value, kind, depth - 1), self._attributes(value, depth - 1)

    def _items(self, value: Any, kind: type, depth: int) -> list[Any]:  # noqa: PLR0911 - a case for each kind
        if issubclass(kind, dict):
            self._watch(value, _keys_and_values)
            pairs = list(dict.items(value))[: self._left]
            return [len(value), *sorted((repr(self._shape(key, depth)), repr(self._shape(item, depth))) for key, item in pairs)]
        if issubclass(kind, (list, deque)):
            items = self._watch(value, _items_of)
            return [len(items), *(self._shape(item, depth) for item in items[: self._left])]
        if issubclass(kind, tuple):
            return [len(value), *(self._shape(item, depth) for item in list(value)[: self._left])]
        if issubclass(kind, (set, frozenset)):
            if issubclass(kind, set):
                self._watch(value, _as_set)
            return sorted(repr(self._shape(item, depth)) for item in list(value)[: self._left])
        if issubclass(kind, (bytearray, array, c_types.DATA)):
            return [hashlib.blake2b(part).digest() for part in self._watch(value, _content)]
        if issubclass(kind, count):
            return self._watch(value, _text)
        return []

    def _attributes(self, value: Any, depth: int) -> list[Any]:
        kept = vars(value) if issubclass(type(value), _thread._local) else attributes(value)
        slots = self._watch(value, objects.slots_of) if objects.has_slots(type(value)) else []
        if not kept:
            return [self._shape(part, depth) for part in slots]
        self._watch(kept, _keys_and_values)
        shapes = sorted((repr(name), repr(self._shape(item, depth))) for name, item in kept.items())
        return [*shapes, *(self._shape(part, depth) for part in slots)]


def _keys_and_values(container: Any) -> list[Any]:
    return [*dict.keys(container), *dict.values(container)]


def _items_of(container: Any) -> list[Any]:
    return [*(list if is_a(container, list) else deque).__iter__(container)]


def _as_set(container: Any) -> list[Any]:
    return [frozenset(container)]


def _content(value: Any) -> list[Any]:
    return [bytes(value)]


def _text(value: Any) -> list[Any]:
    return [repr(value)]


def _variables(function: Any) -> list[Any]:
    return [*contents(function.__closure__ or ())]


def _is_as(before: Any, now: Any) -> bool:
    """Whether two parts are the same object, or equal values of a type that is created by reading."""
    return before is now or (type(before) in (bytes, str, frozenset) and before == now)


class Digests(dict[int, Digest]):
    """Digests made in one pass: an object that stands at many places is read once."""

    def of(self, value: Any) -> Digest:
        """The digest of a value."""
        known = self.get(id(value))
        if known is None:
            known = self[id(value)] = Digest(value)
        return known


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def same(before: list[Any], now: Any) -> bool:
    """Whether two lists have the same parts."""
    return len(before) == len(now) and all(map(operator.is_, before, now))

"""The digest of a value: equal in two processes that hold the same value. It ignores identity and has bounded cost."""

from __future__ import annotations

import _thread
import enum
import types
from array import array  # these are imported by name: a program may put mocks in their places
from collections import deque
from functools import partial
from hashlib import blake2b
from itertools import count
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

from serverless_mp.program.introspect import attributes, contents, has_attributes, is_a

from . import c_objects, c_types, objects, places
from .comparison import ATOMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DEPTH = 4
_NODES = 4000
_LONG = 200
_BUILTIN_FUNCTIONS = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)


class _Part:
    """What the text of a value within others was made from."""

    __slots__ = ("containers", "parts")

    def __init__(self) -> None:
        # Each entry: a container, the function that reads its items, and the items when it was read.
        self.containers: list[tuple[Any, Callable[[Any], list[Any]], list[Any]]] = []
        self.parts: list[_Part] = []

    def is_fixed(self) -> bool:
        return not self.containers and not self.parts

    def still_holds(self, held: set[int]) -> bool:
        if id(self) in held:
            return True
        for container, read, items in self.containers:
            now = read(container)
            # Most items are the same objects, which is quickly seen.
            if len(items) != len(now) or not (all(map(is_, items, now)) or all(map(_is_as, items, now))):
                return False
        for part in self.parts:
            if not part.still_holds(held):
                return False
        held.add(id(self))
        return True


class _Known(NamedTuple):
    """A value that was read in this pass, which keeps its id; how many values were visited for its text; and the text."""

    value: Any
    part: _Part
    size: int
    text: str
    # The limit at its beginning if that has cut it; otherwise None.
    cut_by: int | None

    def is_the_same_within(self, limit: int) -> bool:
        """Whether it would be the same if it was read again with this limit."""
        return self.size < limit if self.cut_by is None else self.cut_by == limit


# By the id of a value, and the depth at which it was read.
_KnownParts = dict[tuple[int, int], _Known]
_NONE: _KnownParts = {}


class Digest:
    """The digest of a value. `value` is equal in two processes that have the same at a place.

    The digest remembers the containers that it was computed from, and so can tell whether it must be computed again. `known`:
    the parts of the digests of the same pass.
    """

    __slots__ = ("_known", "_left", "_part", "value")

    def __init__(self, value: Any, known: _KnownParts | None = None) -> None:
        self._left = _NODES
        self._known = {} if known is None else known
        self._part = _Part()
        text = self._text(value, _DEPTH)
        self._known = _NONE
        places.Counter.visited += _NODES - self._left
        self.value = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()

    def is_fixed(self) -> bool:
        """Whether nothing that the digest was computed from can change."""
        return self._part.is_fixed()

    def still_holds(self, held: set[int]) -> bool:
        """Whether all containers still have exactly the same items. `held`: parts of which that is known; others are added."""
        return self._part.still_holds(held)

    def _watch(self, container: Any, read: Callable[[Any], list[Any]]) -> list[Any]:
        """The items of a container, which is remembered for `still_holds`."""
        items = read(container)
        self._part.containers.append((container, read, items))
        return items

    def _text(self, value: Any, depth: int) -> str:
        """A text that is equal in two processes that hold the same value."""
        kind = type(value)
        self._left -= 1
        way, is_deep = _ways.get(kind) or _way(kind)
        if not is_deep:
            return way(self, value, depth)
        if depth == 0 or self._left <= 0:
            return f"{kind.__module__} {kind.__qualname__}"
        if depth == _DEPTH:
            return way(self, value, depth)
        return self._text_of_part(way, value, depth)

    def _text_of_part(self, way: Callable[[Digest, Any, int], str], value: Any, depth: int) -> str:
        """The same for a value within others, which may be a part of many values: it is read once for each limit."""
        known = self._known.get((id(value), depth))
        if known is not None and known.is_the_same_within(self._left):
            self._left -= known.size
            part, text = known.part, known.text
        else:
            outer, left = self._part, self._left
            self._part = part = _Part()
            text = way(self, value, depth)
            self._part = outer
            cut_by = left if self._left <= 0 else None
            self._known[id(value), depth] = _Known(value, part, left - self._left, text, cut_by)
        if part.containers or len(part.parts) > 1:
            self._part.parts.append(part)
        else:  # the part adds nothing of its own
            self._part.parts += part.parts
        return text

    def _texts(self, parts: Iterable[Any], depth: int) -> str:
        return ", ".join([self._text(part, depth) for part in parts])

    # ---- a way for each kind of value --------------------------------------------------------------------------

    def _atom(self, value: Any, _depth: int) -> str:
        return repr(value)

    def _integer(self, value: int, _depth: int) -> str:
        return hex(value)  # `repr` refuses to write one of many digits

    def _string(self, value: str | bytes, _depth: int) -> str:
        if len(value) <= _LONG:
            return repr(value)
        return f"{type(value).__name__} of {len(value)} {blake2b(_raw(value)).hexdigest()}"

    def _function(self, value: Any, depth: int) -> str:
        code = value.__code__
        place = f"function {code.co_filename} {code.co_firstlineno} {code.co_qualname}"
        if depth in (0, _DEPTH) or value.__closure__ is None:  # a function at a place has places of its own
            return place
        return f"{place} ({self._texts(self._watch(value, _variables), depth - 1)})"

    def _class(self, value: Any, _depth: int) -> str:
        return "class {} {}".format(*places.home(value))

    def _module(self, value: Any, _depth: int) -> str:
        return f"module {value.__name__}"

    def _builtin_function(self, value: Any, _depth: int) -> str:
        owner = getattr(value, "__self__", None)
        of = "" if is_a(owner, types.ModuleType) else type(owner).__qualname__
        return "{} {} {} {}".format(type(value).__name__, *places.home(value), of)

    def _member(self, value: Any, _depth: int) -> str:
        return "member {} {} {}".format(*places.home(type(value)), value._name_)

    def _method(self, value: Any, depth: int) -> str:
        return self._made_of(value, (value.__func__, value.__self__), depth)

    def _wrapper(self, value: Any, depth: int) -> str:
        return self._made_of(value, (value.__func__,), depth)

    def _property(self, value: Any, depth: int) -> str:
        return self._made_of(value, (value.fget, value.fset, value.fdel), depth)

    def _partial(self, value: Any, depth: int) -> str:
        return self._made_of(value, (value.func, value.args, value.keywords), depth)

    def _c_object(self, value: Any, depth: int) -> str:
        return self._made_of(value, self._watch(value, c_objects.parts_of), depth)

    def _made_of(self, value: Any, parts: Iterable[Any], depth: int) -> str:
        return f"{type(value).__name__} ({self._texts(parts, depth - 1)})"

    def _object(self, value: Any, depth: int) -> str:
        kind = type(value)
        items, kept = self._items(value, kind, depth - 1), self._attributes(value, kind, depth - 1)
        return f"{kind.__module__} {kind.__qualname__} {items} {kept}"

    def _items(self, value: Any, kind: type, depth: int) -> str:  # noqa: PLR0911 - a case for each kind
        if issubclass(kind, dict):
            self._watch(value, _keys_and_values)
            pairs = list(dict.items(value))[: self._left]
            return f"{len(value)} {_in_order(f'{self._text(key, depth)}: {self._text(item, depth)}' for key, item in pairs)}"
        if issubclass(kind, (list, deque)):
            items = self._watch(value, _items_of)
            return f"{len(items)} [{self._texts(items[: self._left], depth)}]"
        if issubclass(kind, tuple):
            return f"{len(value)} ({self._texts(list(value)[: self._left], depth)})"
        if issubclass(kind, (set, frozenset)):
            if issubclass(kind, set):
                self._watch(value, _as_set)
            return _in_order(self._text(item, depth) for item in list(value)[: self._left])
        if issubclass(kind, (bytearray, array, c_types.DATA)):
            return " ".join([blake2b(part).hexdigest() for part in self._watch(value, _content)])
        if issubclass(kind, count):
            return " ".join(self._watch(value, _said))
        return ""

    def _attributes(self, value: Any, kind: type, depth: int) -> str:
        is_local = issubclass(kind, _thread._local)
        kept = vars(value) if is_local else attributes(value)
        slots = self._texts(self._watch(value, objects.slots_of), depth) if objects.has_slots(kind) else ""
        if not (is_local or has_attributes(kind)):
            return slots
        self._watch(kept, _keys_and_values)
        return f"{_in_order(f'{name!r}: {self._text(item, depth)}' for name, item in kept.items())} {slots}"


# How the text of a value is made, by its kind, the first that fits; and whether the value's parts are looked at.
_WAYS: tuple[tuple[Any, Any, bool], ...] = (
    (types.FunctionType, Digest._function, False),
    (type, Digest._class, False),
    (types.ModuleType, Digest._module, False),
    (_BUILTIN_FUNCTIONS, Digest._builtin_function, False),
    (enum.Enum, Digest._member, False),
    (types.MethodType, Digest._method, True),
    ((staticmethod, classmethod), Digest._wrapper, True),
    (property, Digest._property, True),
    (partial, Digest._partial, True),
    (c_objects.WITH_PARTS, Digest._c_object, True),
    (object, Digest._object, True),
)
_ways: dict[Any, tuple[Callable[[Digest, Any, int], str], bool]] = dict.fromkeys(ATOMS, (Digest._atom, False))
_ways |= {int: (Digest._integer, False), str: (Digest._string, False), bytes: (Digest._string, False)}


def _way(kind: type) -> tuple[Callable[[Digest, Any, int], str], bool]:
    found = next((way, is_deep) for kinds, way, is_deep in _WAYS if issubclass(kind, kinds))
    _ways[kind] = found
    return found


def _in_order(texts: Iterable[str]) -> str:
    return f"{{{', '.join(sorted(texts))}}}"


def _keys_and_values(container: Any) -> list[Any]:
    return [*dict.keys(container), *dict.values(container)]


def _items_of(container: Any) -> list[Any]:
    return [*(list if is_a(container, list) else deque).__iter__(container)]


def _as_set(container: Any) -> list[Any]:
    return [frozenset(container)]


def _content(value: Any) -> list[Any]:
    return [bytes(value)]


def _said(value: Any) -> list[Any]:
    return [repr(value)]


def _variables(function: Any) -> list[Any]:
    return [*contents(function.__closure__ or ())]


def _is_as(before: Any, now: Any) -> bool:
    """Whether two parts are the same object, or equal values of a type that is created by reading."""
    return before is now or (type(before) in (bytes, str, frozenset) and before == now)


class Digests(dict[int, Digest]):
    """Digests made in one pass: an object that stands at many places, or is a part of many values, is read once."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: _KnownParts = {}

    def of(self, value: Any) -> Digest:
        """The digest of a value."""
        known = self.get(id(value))
        if known is None:
            known = self[id(value)] = Digest(value, self._parts)
        return known


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def same(before: list[Any], now: Any) -> bool:
    """Whether two lists have the same parts."""
    return len(before) == len(now) and all(map(is_, before, now))

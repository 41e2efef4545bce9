"""Objects rebuilt from their parts.

Neither side calls the program: a forked process has its objects without running a constructor, a `__setstate__` or a
`__setitem__` of the program.
"""

from __future__ import annotations

import _thread
import collections
import contextlib
import copyreg
import enum
import functools
import io
import pickle
import sys
import threading
import types
from multiprocessing.reduction import ForkingPickler
from multiprocessing.synchronize import SemLock
from typing import Any

from serverless_mp.program import modules
from serverless_mp.program.introspect import attributes, is_a, module_of_class

from .reducers import REDUCERS

_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE
# Rules of a library for its own objects that decide more than which attributes are written.
_RULES = ("__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__")
# Objects of these packages count references, or belong to one process.
_COUNTED = ("multiprocessing", "serverless_mp", "ctypes", "_ctypes", "weakref", "concurrent")
_CONTAINERS: tuple[type, ...] = (collections.OrderedDict, collections.defaultdict, dict, list, set, collections.deque)
_VALUES: tuple[type, ...] = (tuple, frozenset, str, bytes, int, float, complex)
# A program may have put a mock in the place of `threading.Thread`.
_THREAD: Any = type(threading.main_thread()).__mro__[1]
_LOCAL = _thread._local
_EXCEPTION_SIZE = BaseException.__basicsize__
_MAXLEN: Any = vars(collections.deque)["maxlen"]
# Streams with state beyond their attributes.
_WITH_STATE_IN_C: tuple[type, ...] = (io.StringIO, io.BytesIO, io.FileIO, io.BufferedIOBase, io.TextIOWrapper)
# Members by which a class of C tells the interpreter where its objects keep something: addresses, not state.
_OF_LAYOUT = ("__dictoffset__", "__vectorcalloffset__", "__weaklistoffset__")
# Stands for attributes if the object is its own `__dict__`.
_SELF = "<self>"

# For each class, the function below that reduces its objects; None: by their protocol.
_kinds: dict[type, Any] = {}


def reduce(obj: Any) -> Any:
    """The reduced form of an object from its parts; None if it is written by its protocol."""
    kind = type(obj)
    rule = _rule_of(kind)
    return None if rule is None else rule(obj, kind)


def _rule_of(kind: type) -> Any:
    try:
        return _kinds[kind]
    except KeyError:
        has_reducer = kind in REDUCERS or kind in ForkingPickler._extra_reducers  # type: ignore[attr-defined]
        has_rule = kind in copyreg.dispatch_table and not _is_own(kind)
        rule = None if has_reducer or has_rule else _rule(kind)
        if rule is None and _is_extended(kind):
            rule = _reduce_extended
        _kinds[kind] = rule
        return rule


def _rule(kind: type) -> Any:  # noqa: PLR0911 - a case for each kind
    if is_a(kind, enum.EnumMeta):
        return None
    if issubclass(kind, BaseException):
        return _reduce_exception
    if not kind.__flags__ & _HEAP or _has_rule_of_its_own(kind):
        return None
    if issubclass(kind, _LOCAL):
        return _reduce_local
    if issubclass(kind, io.IOBase):
        return None if issubclass(kind, _WITH_STATE_IN_C) else _reduce_made
    if is_plain(kind):
        return _reduce_thread if issubclass(kind, _THREAD) else reduce_plain
    base = base_of(kind)
    if base is not None:
        return _reduce_container if kind.__basicsize__ == base.__basicsize__ + _own_size(kind, base) else None
    return _reduce_value if issubclass(kind, _VALUES) else None


def is_plain(kind: type) -> bool:
    """Whether attributes and slots are all that an object has."""
    return bool(kind.__flags__ & _HEAP) and kind.__basicsize__ == object.__basicsize__ + _own_size(kind)


def _has_rule_of_its_own(kind: type) -> bool:
    """Whether an installed class defines how its objects are created, or counts references."""
    if _is_counted(kind) and not _is_process(kind) and not issubclass(kind, SemLock):
        return True
    ruled = (base for base in kind.__mro__ if base.__flags__ & _HEAP and any(rule in vars(base) for rule in _RULES))
    first = next(ruled, None)
    return first is not None and not _is_own(first) and _is_followed(first)


def _is_followed(kind: type) -> bool:
    """Whether the rule of an installed class is followed.

    Django's rule for lazy objects would make what they stand for; SQLAlchemy's for events drops the listeners, that of bidict
    the other direction; that of cachetools looks for methods in a class that is not there yet.
    """
    module = module_of_class(kind)
    is_lazy = module == "django.utils.functional" and kind.__name__ in {"LazyObject", "SimpleLazyObject"}
    is_listening = module.startswith("sqlalchemy.event.")
    return not is_lazy and not is_listening and module.partition(".")[0] not in _NOT_FOLLOWED


_NOT_FOLLOWED = frozenset({"bidict", "cachetools"})


def _is_extended(kind: type) -> bool:
    """Whether a class is the program's own and derives from a class that defines how its objects are created."""
    return is_of_python(kind) and _is_own(kind) and not is_a(kind, enum.EnumMeta) and not _is_counted(kind)


def _is_counted(kind: type) -> bool:
    return any(module_of_class(base).partition(".")[0] in _COUNTED for base in kind.__mro__)


def _is_own(kind: type) -> bool:
    home = module_of_class(kind)
    return home in modules.OF_MAIN or modules.is_own(sys.modules.get(home))


def is_of_python(kind: type) -> bool:
    """Whether a class statement of Python has created it."""
    return bool(kind.__flags__ & _HEAP)


def _is_process(kind: type) -> bool:
    return any(base.__qualname__ == "BaseProcess" and base.__module__ == "multiprocessing.process" for base in kind.__mro__)


def _own_size(kind: type, base: type = object) -> int:
    """The bytes that the class statement adds to an object of the base: for slots, weak references and attributes."""
    size = 8 * len(_slots(kind))
    if kind.__weakrefoffset__ > 0 and not base.__weakrefoffset__:
        size += 8
    if kind.__dictoffset__ > 0 and not base.__dictoffset__:
        size += 8
    return size


@functools.cache
def _slots(kind: type) -> list[tuple[int, str]]:
    """The slots of a class and its bases: for each the position in the MRO of the class that defines it, and its name."""
    return [
        (number, name)
        for number, base in enumerate(kind.__mro__)
        if base.__flags__ & _HEAP and base.__module__ != "_ctypes"
        for name, part in vars(base).items()
        if type(part) is types.MemberDescriptorType and name not in _OF_LAYOUT
    ]


def has_slots(kind: type) -> bool:
    """Whether the class statement, or that of a base, defines slots."""
    return bool(kind.__flags__ & _HEAP and _slots(kind))


def slots_of(obj: Any) -> list[Any]:
    """The values of the slots that are set."""
    return [value for _, _, value in _slots_set(obj, type(obj))]


def _slots_set(obj: Any, kind: type) -> list[tuple[int, str, Any]]:
    slots = []
    for number, name in _slots(kind):
        try:
            slots.append((number, name, vars(kind.__mro__[number])[name].__get__(obj)))
        except AttributeError:  # not set
            continue
    return slots


def state_of(obj: Any, kind: type) -> tuple[Any, list[tuple[int, str, Any]]]:
    """The attributes and slots of an object, for `fill`."""
    is_own_dictionary = issubclass(kind, dict) and getattr(obj, "__dict__", None) is obj
    return _SELF if is_own_dictionary else attributes(obj), _slots_set(obj, kind)


def fill(obj: Any, state: tuple[Any, list[tuple[int, str, Any]]]) -> None:
    """Sets the attributes and slots of an object."""
    kept, slots = state
    if kept == _SELF:
        object.__setattr__(obj, "__dict__", obj)
    elif kept:
        object.__getattribute__(obj, "__dict__").update(kept)
    for number, name, value in slots:
        vars(type(obj).__mro__[number])[name].__set__(obj, value)


def reduce_plain(obj: Any, kind: type) -> Any:
    """The reduced form of an object from its attributes and slots."""
    return make, (kind,), state_of(obj, kind), None, None, fill


def _reduce_local(obj: Any, kind: type) -> Any:
    # Only the calling thread continues in a forked process.
    return kind.__new__, (kind,), dict(vars(obj)), None, None, _fill_local


def _fill_local(obj: Any, kept: dict[str, Any]) -> None:
    vars(obj).update(kept)


def _reduce_made(obj: Any, kind: type) -> Any:
    return kind.__new__, (kind,), state_of(obj, kind), None, None, fill


def _reduce_thread(obj: Any, kind: type) -> Any:
    """A thread. Only the thread that forks continues, as the main thread of the new process."""
    if obj is threading.current_thread():
        return threading.main_thread, ()
    kept, slots = state_of(obj, kind)
    ended = {"_is_stopped": True, "_tstate_lock": None, "_handle": None} if obj.ident is not None else {}
    return make, (kind,), (kept | {name: ended[name] for name in ended if name in kept}, slots), None, None, fill


def make(kind: type) -> Any:
    """An object without content."""
    return object.__new__(kind)


def make_empty(kind: type) -> Any:
    """An object without content, or a container without items."""
    return _make_container(kind, None) if base_of(kind) else make(kind)


def is_refilled(value: Any) -> bool:
    """Whether a worker's own object can take over the content, since other objects there may refer to it."""
    kind = type(value)
    if kind is object or kind in _CONTAINERS:
        return True
    return _rule_of(kind) in (reduce_plain, _reduce_container)


def whole(value: Any) -> tuple[Any, Any]:
    """The items and the attributes of an object, for `refill_whole`."""
    return content_of(value), state_of(value, type(value))


def refill_whole(own: Any, content: tuple[Any, Any]) -> None:
    """Replaces the whole content of a worker's own object."""
    items, state = content
    refill(own, items)
    kept = attributes(own)
    kept.clear()
    fill(own, state)


def content_of(value: Any) -> Any:
    """The items of a container, as a plain container of its base type."""
    base = base_of(type(value))
    if base is None:
        return None
    if base is collections.defaultdict:
        return dict(dict.items(value)), value.default_factory
    if issubclass(base, dict):
        return dict(base.items(value)), None
    return list(base.__iter__(value)), _maxlen(value)


def _maxlen(value: Any) -> int | None:
    return _MAXLEN.__get__(value) if is_a(value, collections.deque) else None


def base_of(kind: type) -> Any:
    """The builtin container type that a class derives from."""
    return next((base for base in _CONTAINERS if issubclass(kind, base)), None)


def refill(value: Any, content: Any) -> None:
    """Replaces the items of a container."""
    if content is None:
        return
    items, option = content
    base = base_of(type(value))
    base.clear(value)
    if issubclass(base, dict):
        if base is collections.defaultdict:
            value.default_factory = option
        for key, item in items.items():
            base.__setitem__(value, key, item)
    elif base is set:
        set.update(value, items)
    elif base is collections.deque and _maxlen(value) != option:
        base.__init__(value, items, option)
    else:
        base.extend(value, items)


def _reduce_container(obj: Any, kind: type) -> Any:
    return (
        _make_container,
        (kind, _maxlen(obj)),
        (content_of(obj), state_of(obj, kind)),
        None,
        None,
        _fill_container,
    )


def _make_container(kind: type, maxlen: int | None) -> Any:
    base = base_of(kind)
    obj = base.__new__(kind)
    if maxlen is not None:
        base.__init__(obj, (), maxlen)
    return obj


def _fill_container(obj: Any, state: Any) -> None:
    content, own = state
    refill(obj, content)
    fill(obj, own)


def _reduce_extended(obj: Any, kind: type) -> Any:
    """Reduces as the base class does, and adds the attributes that the base class may not know."""
    reduced = obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    own = state_of(obj, kind)
    if is_a(reduced, str) or not any(own) or any(part is not None for part in reduced[2:3]):
        return reduced
    return *reduced[:2], own, *(reduced[3:5] or (None, None)), fill


def _reduce_value(obj: Any, kind: type) -> Any:
    base: Any = next(base for base in _VALUES if issubclass(kind, base))
    return _make_value, (base, kind, _plain(base, obj)), state_of(obj, kind), None, None, fill


def _plain(base: Any, obj: Any) -> Any:
    """The same value as a plain object of the base type."""
    if base is frozenset:
        return frozenset.__or__(obj, frozenset())
    return base.__getitem__(obj, slice(None)) if base in (tuple, str, bytes) else base.__pos__(obj)


def _make_value(base: Any, kind: type, plain: Any) -> Any:
    return base.__new__(kind, plain)


def _reduce_exception(obj: Any, kind: type) -> Any:
    """An exception with its cause and context. One with fields in C, such as OSError, is created by its own rule."""
    linked = (obj.__cause__, obj.__context__, obj.__suppress_context__, _fields_in_c(obj, kind))
    if kind.__basicsize__ == _EXCEPTION_SIZE + _own_size(kind, BaseException):
        made: Any = (_make_exception, (kind, BaseException.args.__get__(obj)))  # type: ignore[attr-defined]
    else:
        made = obj.__reduce__()[:2]
    return *made, (state_of(obj, kind), linked), None, None, _fill_exception


def _fields_in_c(obj: Any, kind: type) -> dict[str, Any]:
    """The fields that an exception has in C, such as `ImportError.name`. `AttributeError.obj` is left out, as by CPython."""
    parts = {name: part for base in kind.__mro__ for name, part in vars(base).items() if _is_field_in_c(base, part)}
    values = {name: part.__get__(obj) for name, part in parts.items() if name != "obj"}
    return {name: value for name, value in values.items() if value is not None}


def _is_field_in_c(base: type, part: Any) -> bool:
    return type(part) is types.MemberDescriptorType and not base.__flags__ & _HEAP and not part.__name__.startswith("_")


def _make_exception(kind: type, arguments: tuple[Any, ...]) -> Any:
    return BaseException.__new__(kind, *arguments)  # type: ignore[arg-type]


def _fill_exception(obj: BaseException, state: Any) -> None:
    own, (cause, obj.__context__, is_suppressed, fields) = state
    obj.__cause__ = cause
    obj.__suppress_context__ = is_suppressed
    for base in type(obj).__mro__:
        for name in [name for name in fields if _is_field_in_c(base, vars(base).get(name))]:
            with contextlib.suppress(AttributeError):  # read-only: it was given when the exception was created
                vars(base)[name].__set__(obj, fields[name])
    fill(obj, own)


# Functions that give an object its content after it was created.
FILLS: tuple[Any, ...] = (fill, _fill_container, _fill_local, _fill_exception)

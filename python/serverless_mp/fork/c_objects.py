"""Objects of ctypes, and the C libraries that a program has loaded.

An address is valid in one process only. A pointer to an object that ctypes keeps is rebuilt to point to the rebuilt object. A
function of a library is looked up again by its name. All other pointers cannot be transferred.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import gc
from multiprocessing.sharedctypes import reduce_ctype  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

from serverless_mp.program.introspect import attributes, is_a

from . import c_types
from .objects import fill, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Imported by name: a program may put mocks in their places.
_LIBRARY, _LOADER, _FUNCTION, _POINTER = ctypes.CDLL, ctypes.LibraryLoader, ctypes._CFuncPtr, ctypes._Pointer  # type: ignore[attr-defined]
# The kinds of objects that `parts_of` is for.
WITH_PARTS = (_LIBRARY, _FUNCTION)
# The key under which ctypes keeps the memory that an object lies in.
_BUFFER = "ffffffff"
_ARE_TEXT = (ctypes.c_char_p, ctypes.c_wchar_p, ctypes.py_object)
_OF_CTYPES = ("pythonapi", "cdll", "pydll")
_OF_LIBRARY = ("_handle", "_name", "_FuncPtr", "_dlltype")
_IF_LOADED = 4  # RTLD_NOLOAD
_NOT_HERE = "it has an address of this process"


def reduce(obj: Any) -> Any:  # noqa: C901, PLR0911 - a case for each kind
    """The reduced form of a ctypes object or library; None for anything else."""
    if is_a(obj, _LIBRARY):
        return _reduce_library(obj)
    if type(obj) is _LOADER:
        return _reduce_loader(obj)
    if not is_a(obj, c_types.DATA):
        return None
    kind: Any = type(obj)
    if "_wrapper" in attributes(obj):
        if c_types.has_addresses(kind) and _holds_addresses(obj):
            raise ValueError(_NOT_HERE)
        return reduce_ctype(obj)
    if is_a(obj, _FUNCTION):
        return _reduce_function(obj)
    if is_a(obj, (_POINTER, ctypes.c_void_p)):
        return _reduce_pointer(obj)
    if is_a(obj, _ARE_TEXT):
        return _made_by(obj, _make_text, obj.value)
    if is_a(obj._b_base_, _POINTER):
        offset = ctypes.addressof(obj) - ctypes.addressof(obj._b_base_.contents)
        return _made_by(obj, _element, obj._b_base_, offset // ctypes.sizeof(obj))
    owner, at = _owner(obj)
    if owner is not None:
        return _made_by(obj, _make_over, owner, ctypes.addressof(obj) - at)
    if not obj._b_needsfree_:  # the object lies in a library
        raise ValueError(_NOT_HERE)
    with contextlib.suppress(AttributeError):  # it has no attributes
        obj.__reduce__()  # raises for an object with pointers inside
    return _made_by(obj, _make, ctypes.string_at(ctypes.addressof(obj), ctypes.sizeof(obj)))


def _holds_addresses(obj: Any) -> bool:
    """Whether an object of a type that has addresses holds one."""
    if is_a(obj, ctypes.Array):
        return any(map(_holds_addresses, obj))
    fields = [field for field, kind in c_types.fields_of(type(obj)) if c_types.has_addresses(kind)]
    return any(_holds_addresses(field.__get__(obj)) for field in fields) if fields else bool(obj)


def _made_by(obj: Any, make: Any, *arguments: Any) -> Any:
    """Rebuilds the object by `make` from its type and these arguments, then sets its attributes and slots."""
    return make, (type(obj), *arguments), state_of(obj, type(obj)), None, None, fill


def _element(_: Any, pointer: Any, number: int) -> Any:
    return pointer[number]


def _new(kind: Any) -> Any:
    """A new object filled with zeros, created without running the program's code."""
    first = next(base for base in kind.__mro__ if base.__module__ == "_ctypes")
    return first.__new__(kind)


def _make(kind: Any, content: bytes) -> Any:
    obj = _new(kind)
    if ctypes.sizeof(obj) < len(content):
        ctypes.resize(obj, len(content))
    ctypes.memmove(ctypes.addressof(obj), content, len(content))
    return obj


def _make_text(kind: Any, value: Any) -> Any:
    obj = _new(kind)
    if value is not None or issubclass(kind, ctypes.py_object):
        obj.value = value
    return obj


def _set(obj: Any, kept: dict[str, Any]) -> None:
    attributes(obj).update(kept)


def _owner(obj: Any) -> tuple[Any, int]:
    """The object whose memory this one lies in, if any, and that object's address."""
    if obj._b_base_ is not None:
        return obj._b_base_, ctypes.addressof(obj._b_base_)
    kept = obj._objects.get(_BUFFER) if is_a(obj._objects, dict) else obj._objects
    if is_a(kept, memoryview) and not kept.readonly:
        return kept.obj, ctypes.addressof(ctypes.c_char.from_buffer(kept.obj))
    return None, 0


def has_memory(obj: Any) -> bool:
    """Whether an object's memory is rebuilt: it is its own or that of another object, and not that of a C library."""
    while not is_a(obj, _POINTER):
        owner, _ = _owner(obj)
        if owner is None:
            return bool(obj._b_needsfree_) or "_wrapper" in attributes(obj)
        if not is_a(owner, c_types.DATA):
            return True
        obj = owner
    return False


def holder(obj: Any) -> Any:
    """Whose memory an object covers: its own, or that of what the pointer to it keeps; None if it is not rebuilt."""
    if has_memory(obj):
        return obj
    address, pointer = ctypes.addressof(obj), obj
    while not is_a(pointer, _POINTER) and pointer._b_base_ is not None:
        pointer = pointer._b_base_
    for kept in _kept_for(pointer._objects):
        if ctypes.addressof(kept) <= address < ctypes.addressof(kept) + ctypes.sizeof(kept) and has_memory(kept):
            return kept
    return None


def _make_over(kind: Any, owner: Any, offset: int) -> Any:
    return kind.from_buffer(owner, offset)


def _reduce_pointer(pointer: Any) -> Any:
    address = ctypes.cast(pointer, ctypes.c_void_p).value
    if not address:
        return _made_by(pointer, _new)
    for kept in _kept_for(pointer._objects):
        start = ctypes.addressof(kept)
        if start <= address < start + max(ctypes.sizeof(kept), 1):
            return _made_by(pointer, _make_pointer, kept, address - start)
    raise ValueError(_NOT_HERE)


def _kept_for(kept: Any) -> Iterator[Any]:
    """The ctypes objects that are kept because something points to them."""
    if is_a(kept, c_types.DATA):
        yield kept
    elif is_a(kept, dict):
        for part in list(kept.values()):
            yield from _kept_for(part)


def _make_pointer(kind: Any, target: Any, offset: int) -> Any:
    """A pointer that keeps its target alive, which `byref` does not."""
    return ctypes.cast(ctypes.pointer(ctypes.c_char.from_buffer(target, offset) if offset else target), kind)


# ---- functions and libraries -----------------------------------------------------------------------------------


def _reduce_function(function: Any) -> Any:
    kept = attributes(function)
    library: Any = function._objects.get("0") if is_a(function._objects, dict) else None
    how = {name: value for name in ("restype", "argtypes", "errcheck") if (value := getattr(function, name)) is not None}
    if is_a(library, _LIBRARY) and "__name__" in kept and type(function) is library._FuncPtr:
        is_kept = attributes(library).get(kept["__name__"]) is function
        return _find_function, (library, kept["__name__"], is_kept), (how, kept), None, None, _set_function
    if not function:
        return _new, (type(function),), kept, None, None, _set
    not_it = [type(function), *how.values()]
    called = [one for one in gc.get_referents(function) if callable(one) and not any(one is other for other in not_it)]
    if len(called) != 1:
        raise ValueError(_NOT_HERE)
    return type(function), (called[0],), (how, kept), None, None, _set_function


def parts_of(obj: Any) -> list[Any]:
    """The attributes that a program can set in a library or in a C function."""
    if is_a(obj, _LIBRARY):
        kept = _set_in(obj)
        return [*kept, *kept.values()]
    return [obj.restype, obj.argtypes, obj.errcheck]


def _find_function(library: Any, name: str, is_kept: bool) -> Any:
    return getattr(library, name) if is_kept else library[name]


def _set_function(function: Any, content: tuple[dict[str, Any], dict[str, Any]]) -> None:
    how, kept = content
    for name, value in how.items():
        setattr(function, name, value)
    attributes(function).update(kept)


def libraries() -> list[Any] | None:
    """The loaders and libraries of `ctypes` itself that the program has used, each with what was set in it."""
    return [one for name in _OF_CTYPES if _set_in(one := getattr(ctypes, name))] or None


def _reduce_loader(loader: Any) -> Any:
    """A loader, with the libraries that it has loaded."""
    name = next((name for name in _OF_CTYPES if getattr(ctypes, name) is loader), None)
    made = (getattr, (ctypes, name)) if name else (_LOADER, (loader._dlltype,))
    return *made, _set_in(loader), None, None, _set


def _reduce_library(library: Any) -> Any:
    if library is ctypes.pythonapi:
        return getattr, (ctypes, "pythonapi"), _set_in(library), None, None, _set
    kept = attributes(library)
    _check_name(kept["_name"], kept["_handle"])
    flags = kept["_FuncPtr"]._flags_
    use_errno = bool(flags & ctypes._FUNCFLAG_USE_ERRNO)  # type: ignore[attr-defined]
    return _load_library, (type(library), kept["_name"], use_errno), _set_in(library), None, None, _set


def _set_in(library: Any) -> dict[str, Any]:
    """The attributes that the program has set in a library or loader, and the functions that it has looked up there."""
    return {name: value for name, value in attributes(library).items() if name not in _OF_LIBRARY}


def _check_name(name: Any, handle: int) -> None:
    """Raises an error if the name of a library leads to another library or to none."""
    found = _ctypes.dlopen(name, _IF_LOADED)
    _ctypes.dlclose(found)
    if found != handle:
        raise ValueError(_NOT_HERE)


def _load_library(kind: Any, name: Any, use_errno: bool) -> Any:
    library = object.__new__(kind)
    _LIBRARY.__init__(library, name, use_errno=use_errno)
    return library

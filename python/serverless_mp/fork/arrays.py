"""Views of memory: a worker's array or memoryview covers the same shared memory, or the same file."""

from __future__ import annotations

import array as stdlib_array
import ctypes
import os
import struct
from typing import Any

import cloudpickle

from serverless_mp import _core
from serverless_mp.program.introspect import attributes

from . import files

_BY_BYTES: Any = cloudpickle.Pickler.dispatch_table[memoryview]
# Bytes.
_SMALL = 64 << 20
_CTYPES: Any = ctypes._SimpleCData.__base__


def reduce_array(array: Any) -> Any:
    """The reduced form of a numpy array that is a view of shared memory or of a file; None for any other object."""
    kind = type(array)
    if kind.__module__ != "numpy" or kind.__name__ not in {"ndarray", "memmap"}:
        base = next((one for one in kind.__mro__ if one.__module__ == "numpy" and one.__name__ == "ndarray"), None)
        if base is None or not attributes(array):
            return None
        make, arguments, state = array.__reduce__()
        return make, arguments, (state, attributes(array)), None, None, _fill_array
    root: Any = array
    while getattr(root, "base", None) is not None and not _is_of_file(root):
        root = root.base
    if _is_of_file(root):
        return _reduce_map(array, root)
    if isinstance(root, memoryview):
        root = root.obj
    if isinstance(root, (_core.Region, bytearray, stdlib_array.array)) and array.nbytes:
        address = ctypes.addressof(ctypes.c_char.from_buffer(root))
    elif hasattr(root, "_wrapper") and isinstance(root, _CTYPES):
        address = ctypes.addressof(root)
    elif type(root) is kind and root is not array and not array.dtype.hasobject and _is_worth_sharing(array, root):
        address = root.__array_interface__["data"][0]
    else:
        return None
    offset = array.__array_interface__["data"][0] - address
    return _remake_view, (kind, array.shape, array.dtype, root, offset, array.strides, array.flags.writeable)


def _is_of_file(array: Any) -> bool:
    """Whether an array maps a file itself, and is not a view of an array that does."""
    return type(array).__name__ == "memmap" and type(array.base).__name__ == "mmap"


def _reduce_map(array: Any, root: Any) -> Any:
    if not files.is_local_launch() or root.filename is None:
        return None
    if array is root:
        mode = "r+" if root.mode == "w+" else root.mode
        order = "C" if root.flags.c_contiguous else "F"
        return type(root), (os.fspath(root.filename), root.dtype, mode, root.offset, root.shape, order)
    offset = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    parts = (array.shape, array.dtype, root, offset, array.strides, array.flags.writeable)
    return _remake_map_view, (type(array).__name__ == "memmap", *parts)


def _remake_map_view(is_map: bool, *parts: Any) -> Any:
    import numpy as np  # noqa: PLC0415 - only if the program uses it

    array, root = _remake_view(np.ndarray, *parts), parts[2]
    if not is_map:
        return array
    mapped: Any = array.view(np.memmap)
    for name in ("_mmap", "filename", "offset", "mode"):
        setattr(mapped, name, getattr(root, name))
    return mapped


def reduce_memoryview(view: memoryview) -> Any:
    """A view of writable memory stays a view. For any other view its content is enough."""
    if isinstance(view.obj, _CTYPES) and view.nbytes == ctypes.sizeof(view.obj) and not view.readonly:
        return _remake_view_of_c, (view.obj, view.format)
    if type(view.obj).__module__ == "numpy" and _is_all_of(view, view.obj):
        return memoryview, (view.obj,)
    if view.readonly or not isinstance(view.obj, (_core.Region, bytearray, stdlib_array.array)):
        return _BY_BYTES(view)
    if not view.c_contiguous:
        return _reduce_slice(view) if view.ndim == 1 else _BY_BYTES(view)
    if not view.nbytes:
        return _remake_memoryview, (view.obj, 0, 0, view.format, view.shape)
    with view.cast("B") as plain, memoryview(view.obj) as whole:
        start = ctypes.addressof(ctypes.c_char.from_buffer(plain)) - ctypes.addressof(ctypes.c_char.from_buffer(whole))
        return _remake_memoryview, (view.obj, start, view.nbytes, view.format, view.shape)


def _is_all_of(view: memoryview, array: Any) -> bool:
    with memoryview(array) as whole:
        return (whole.format, whole.shape, whole.strides) == (view.format, view.shape, view.strides)


def _reduce_slice(view: memoryview) -> Any:
    # The buffer of several elements with space between them has no address; that of the first one has.
    with view[:1].cast("B") as first, memoryview(view.obj) as whole:  # type: ignore[arg-type]
        start = ctypes.addressof(ctypes.c_char.from_buffer(first)) - ctypes.addressof(ctypes.c_char.from_buffer(whole))
        step = (view.strides or (view.itemsize,))[0] // view.itemsize
        return _remake_slice, (view.obj, start, step, len(view), view.format)


def _remake_slice(owner: Any, start: int, step: int, length: int, form: str) -> memoryview:
    plain, size = memoryview(owner).cast("B"), struct.calcsize(form)
    before, first = start % size, start // size
    elements: Any = plain[before : before + (len(plain) - before) // size * size].cast(form)  # type: ignore[call-overload]
    stop = first + length * step
    return elements[first : stop if stop >= 0 else None : step]  # type: ignore[no-any-return]


def _remake_view_of_c(owner: Any, form: str) -> memoryview:
    view = memoryview(owner)
    return view if view.format == form else view.cast(form)  # type: ignore[call-overload,no-any-return]


def _remake_memoryview(owner: Any, start: int, size: int, form: str, shape: tuple[int, ...]) -> memoryview:
    plain = memoryview(owner).cast("B")[start : start + size]
    return plain.cast(form) if len(shape) == 1 else plain.cast(form, shape)  # type: ignore[call-overload,no-any-return]


def _is_worth_sharing(array: Any, root: Any) -> bool:
    """Whether a view is transferred with its whole base array. A small part of a large array is copied instead."""
    return root.nbytes <= max(8 * array.nbytes, _SMALL)


def _fill_array(array: Any, content: tuple[Any, dict[str, Any]]) -> None:
    state, kept = content
    array.__setstate__(state)
    vars(array).update(kept)


def _remake_view(kind: Any, *parts: Any) -> Any:
    *where, is_writeable = parts
    array = kind(*where)
    array.flags.writeable = is_writeable
    return array

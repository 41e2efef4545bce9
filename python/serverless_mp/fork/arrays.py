"""Views of memory by numpy: a worker's array covers the same shared memory, the same file, or the memory of the same
object.

The owner of an array's memory is found by its address: an array may come from an object that does not tell it, such as a
pointer, an array interface or a tensor.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from array import array as stdlib_array  # by its name: a program may put a mock in its place
from typing import Any, Literal

from serverless_mp import _core
from serverless_mp.program.introspect import attributes, is_a, is_of
from serverless_mp.store import region

from . import c_objects, c_types, files

# Bytes.
_SMALL = 64 << 20
# Owners that are rebuilt in one piece.
_OWNERS = (_core.Region, bytearray, stdlib_array)
# Arrays that are copied into memory of their own: up to this size in bytes, of these kinds of elements.
_MOST_COPIED = 1 << 20
_COPIED = "biufcmMSUV"


def reduce_array(array: Any) -> Any:
    """The reduced form of a numpy array or record that is a view of other memory; None for any other object."""
    kind = type(array)
    if is_of(array, "numpy", "void"):
        view = _view_of(array) if array.dtype.names and array.base is not None else None
        return view and (_remake_record, view)
    if not is_of(array, "numpy", "ndarray"):
        return None
    is_usual = kind.__module__ == "numpy" and kind.__name__ in {"ndarray", "memmap"}
    root = _root_of(array)
    if is_usual and _is_of_file(root):
        return _reduce_map(array, root)
    kept, view = attributes(array), _view_of(array)
    if view is not None:
        return _remake_view, (kind, *view), kept or None, None, None, _fill_view
    if is_usual or not kept:
        return _reduce_owner(array)
    make, arguments, state = array.__reduce__()
    return make, arguments, (state, kept), None, None, _fill_array


def _reduce_owner(array: Any) -> Any:
    """The reduced form of a small array that owns its memory, as the worker's array does then; None for any other array. A
    large one is a view of the content as it has come, which is not copied once more.
    """
    kind, dtype = type(array), array.dtype
    is_plain = (kind.__module__, kind.__name__) == ("numpy", "ndarray") and dtype.kind in _COPIED and not dtype.hasobject
    if not (is_plain and array.flags.owndata and array.flags.forc and array.itemsize and array.nbytes <= _MOST_COPIED):
        return None
    order = "C" if array.flags.c_contiguous else "F"
    return _remake_owner, (array.shape, dtype, order, array.tobytes(order), array.flags.writeable)


def _remake_owner(shape: tuple[int, ...], dtype: Any, order: Literal["C", "F"], content: bytes, is_writeable: bool) -> Any:
    import numpy as np  # noqa: PLC0415 - only if the program uses it

    array = np.empty(shape, dtype, order)
    # As bytes: the gaps between fields are a part of the content.
    array.reshape(-1, order=order).view(np.uint8)[:] = np.frombuffer(content, np.uint8)
    array.flags.writeable = is_writeable
    return array


def _root_of(array: Any) -> Any:
    """What an array is a view of, in the end; the array itself if it owns its memory or maps a file."""
    root = array
    while True:
        if is_a(root, memoryview):
            root = root.obj
        elif _is_of_file(root) or not _is_of_numpy(root) or root.base is None:
            return root
        else:
            root = root.base


def _is_of_numpy(value: Any) -> bool:
    return is_of(value, "numpy", "ndarray") or is_of(value, "numpy", "void")


def _view_of(array: Any) -> tuple[Any, ...] | None:
    """The shape, type, owner, offset in bytes, strides and writability of a view; None if its content is enough."""
    if array.flags.owndata or not array.nbytes or array.dtype.hasobject:
        return None
    address, root = array.__array_interface__["data"][0], _root_of(array)
    owner, first = _owner(address, None if root is array else root)
    if owner is None or (_is_of_numpy(owner) and not _is_worth_sharing(array, owner)):
        return None
    return array.shape, array.dtype, owner, address - first, array.strides, array.flags.writeable


def _owner(address: int, root: Any) -> tuple[Any, int]:
    """The object whose memory a view covers, and where that memory begins; None if the content is enough."""
    shared = region.at(address)
    if shared is not None:
        return shared, shared.address
    kind = type(root)
    if issubclass(kind, _OWNERS):
        return root, _core.address_of(root)
    if issubclass(kind, mmap.mmap) and not _is_read_only(root):
        raise TypeError(files.NOT_MAPPED)
    if issubclass(kind, c_types.DATA):
        held = c_objects.holder(root)
        return held, 0 if held is None else ctypes.addressof(held)
    if is_of(root, "numpy", "ndarray") and root.flags.forc and not _is_of_file(root):
        return root, root.__array_interface__["data"][0]
    if is_of(root, "torch", "Tensor") and root.is_contiguous() and not root.requires_grad:
        return root, root.data_ptr()
    return None, 0


def _is_read_only(owner: Any) -> bool:
    with memoryview(owner) as whole:
        return whole.readonly


def _is_of_file(array: Any) -> bool:
    """Whether an array maps a file itself, and is not a view of an array that does."""
    return type(array).__name__ == "memmap" and type(array.base).__name__ == "mmap"


def _reduce_map(array: Any, root: Any) -> Any:
    if not files.is_local_launch() or root.filename is None or root.mode == "c":  # what is written there is private
        return None
    if array is root:
        mode = "r+" if root.mode == "w+" else root.mode
        order = "C" if root.flags.c_contiguous else "F"
        parts = (os.fspath(root.filename), root.dtype, mode, root.offset, root.shape, order)
        return type(root), parts, {"mode": root.mode}, None, None, _fill_view
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


def _is_worth_sharing(array: Any, root: Any) -> bool:
    """Whether a view is transferred with its whole base array. A small part of a large array is copied instead."""
    return root.nbytes <= max(8 * array.nbytes, _SMALL)


def _fill_array(array: Any, content: tuple[Any, dict[str, Any]]) -> None:
    state, kept = content
    array.__setstate__(state)
    vars(array).update(kept)


def _fill_view(array: Any, kept: dict[str, Any]) -> None:
    vars(array).update(kept)


def _remake_view(kind: Any, *parts: Any) -> Any:
    import numpy as np  # noqa: PLC0415 - only if the program uses it

    shape, dtype, owner, offset, strides, is_writeable = parts
    memory = owner.numpy() if is_of(owner, "torch", "Tensor") else owner
    array: Any = np.ndarray(shape, dtype, memory, offset, strides)
    array.flags.writeable = is_writeable
    return array if kind is np.ndarray else array.view(kind)


def _remake_record(*parts: Any) -> Any:
    import numpy as np  # noqa: PLC0415 - only if the program uses it

    return _remake_view(np.ndarray, *parts)[()]

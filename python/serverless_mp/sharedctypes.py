"""Counterpart of `multiprocessing.sharedctypes`: ctypes objects in shared memory, each in a region of its own.

CPython's `synchronized` wrappers and pickling are used; only the source of the memory differs.
"""

from __future__ import annotations

import ctypes
from multiprocessing import sharedctypes
from multiprocessing.sharedctypes import rebuild_ctype, typecode_to_type  # type: ignore[attr-defined]
from types import FunctionType
from typing import Any

from . import installed
from .stdlib import public_names
from .store.region import Block
from .synchronize import RLock

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]


# ctypes names a type after the module of the function that makes it: here CPython's.
_array_type: Any = FunctionType((lambda type_, length: type_ * length).__code__, {"__name__": "multiprocessing.sharedctypes"})


def _new_value(type_: Any) -> Any:
    return rebuild_ctype(type_, Block(ctypes.sizeof(type_)), None)


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """A ctypes object in shared memory, without a lock."""
    obj = _new_value(typecode_to_type.get(typecode_or_type, typecode_or_type))
    obj.__init__(*args)
    return obj


def RawArray(typecode_or_type: Any, size_or_initializer: Any) -> Any:
    """A ctypes array in shared memory, without a lock: `size_or_initializer` zeros, or the items of a sequence."""
    type_ = typecode_to_type.get(typecode_or_type, typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new_value(_array_type(type_, size_or_initializer))
    result = _new_value(_array_type(type_, len(size_or_initializer)))
    result.__init__(*size_or_initializer)
    return result


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """A ctypes object in shared memory with a lock, or without one if `lock` is False."""
    return _locked(RawValue(typecode_or_type, *args), lock, ctx)


def Array(typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True, ctx: Any = None) -> Any:
    """A ctypes array in shared memory with a lock, or without one if `lock` is False."""
    return _locked(RawArray(typecode_or_type, size_or_initializer), lock, ctx)


def copy(obj: Any) -> Any:
    """A copy of a ctypes object, in shared memory."""
    new = _new_value(type(obj))
    ctypes.pointer(new)[0] = obj
    return new


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> Any:
    """An accessor for a ctypes object, with a lock; if it is None, with a new one of this context, or of the default one."""
    return sharedctypes.synchronized(obj, lock, ctx=installed.context(ctx))


def _locked(obj: Any, lock: Any, ctx: Any) -> Any:
    if lock is False:
        return obj
    if lock in (True, None):
        # The guarded region is published and fetched with its lock: both are in one slot of a cluster.
        lock = RLock(ctx=ctx, beside=obj._wrapper.region_id)
    if not hasattr(lock, "acquire"):
        message = f"{lock!r} has no method 'acquire'"
        raise AttributeError(message)
    return synchronized(obj, lock, ctx=ctx)


public_names.complete(__name__)

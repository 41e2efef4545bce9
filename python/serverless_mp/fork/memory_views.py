"""Memoryviews: a worker's view covers the memory of the same object, as far as that object can be written to."""

from __future__ import annotations

import mmap
import struct
from array import array as stdlib_array  # by its name: a program may put a mock in its place
from typing import Any

from serverless_mp import _core
from serverless_mp.program.introspect import is_a, is_of

from . import c_objects, c_types, files

_OWNERS = (_core.Region, bytearray, stdlib_array)
# The formats to which a view of bytes can be cast.
_NATIVE = frozenset("?cbBhHiIlLqQnNfdP")


def reduce_memoryview(view: memoryview) -> Any:
    """The reduced form of a view. Raises ValueError if it has been released, TypeError if no view like it can be rebuilt."""
    owner: Any = view.obj
    if not _is_rebuilt(owner) or (view.readonly and 0 in (view.strides or ())):  # or one element stands for many
        content = view.tobytes()
        return _remake_view, (content if view.readonly else bytearray(content), *_shape(view, 0))
    with memoryview(owner) as whole:
        offset = _core.address_of(view) - _core.address_of(whole) if view.nbytes and view.ndim and whole.ndim else 0
        is_narrowed = view.readonly and not whole.readonly
        if (whole.format, whole.shape, whole.strides, offset) == (view.format, view.shape, view.strides, 0):
            return _remake_whole, (owner, is_narrowed)
        if view.ndim == whole.ndim == 1 and view.format == whole.format and _stride(whole):
            (step, gap), (first, rest) = divmod(_stride(view), _stride(whole)), divmod(offset, _stride(whole))
            if gap == rest == 0:
                return _remake_slice, (owner, None, 0, first, step, len(view), is_narrowed)
        if whole.c_contiguous and view.format.lstrip("@") in _NATIVE:
            if view.c_contiguous:
                return _remake_view, (owner, *_shape(view, offset), is_narrowed)
            if view.ndim == 1 and _stride(view) % view.itemsize == 0:
                before, first = offset % view.itemsize, offset // view.itemsize
                form, step = view.format, _stride(view) // view.itemsize
                return _remake_slice, (owner, form, before, first, step, len(view), is_narrowed)
    message = f"a memoryview of format {view.format!r} and shape {view.shape} with gaps: build it in the target"
    raise TypeError(message)


def _is_rebuilt(owner: Any) -> bool:
    """Whether a worker gets the owner of a view; else the content is enough, since nobody can change it, or only C does."""
    if is_a(owner, c_types.DATA):
        return c_objects.has_memory(owner)
    with memoryview(owner) as whole:
        if is_a(owner, mmap.mmap) and not whole.readonly:
            raise TypeError(files.NOT_MAPPED)
    return is_of(owner, "numpy", "ndarray") or is_a(owner, _OWNERS)


def _shape(view: memoryview, offset: int) -> tuple[Any, ...]:
    """Where the bytes of a view are in its owner, and how they are to be seen."""
    is_native = view.format.lstrip("@") in _NATIVE
    return offset, view.nbytes, view.format if is_native else "B", view.shape if is_native else (view.nbytes,)


def _stride(view: memoryview) -> int:
    return (view.strides or (view.itemsize,))[0]


def _remake_whole(owner: Any, is_narrowed: bool) -> memoryview:
    return _narrowed(memoryview(owner), is_narrowed)


def _remake_view(owner: Any, start: int, size: int, form: str, shape: tuple[int, ...], is_narrowed: bool = False) -> memoryview:
    plain = memoryview(owner).cast("B")[start : start + size]
    return _narrowed(plain.cast(form) if len(shape) == 1 else plain.cast(form, shape), is_narrowed)  # type: ignore[call-overload]


def _remake_slice(
    owner: Any, form: str | None, before: int, first: int, step: int, length: int, is_narrowed: bool
) -> memoryview:
    """Some elements of the owner, or of its bytes from `before` on, seen as elements of another format."""
    elements: Any = memoryview(owner)
    if form is not None:
        plain, size = elements.cast("B"), struct.calcsize(form)
        elements = plain[before : before + (len(plain) - before) // size * size].cast(form)
    stop = first + length * step
    return _narrowed(elements[first : stop if stop >= 0 else None : step], is_narrowed)


def _narrowed(view: memoryview, is_narrowed: bool) -> memoryview:
    return view.toreadonly() if is_narrowed else view

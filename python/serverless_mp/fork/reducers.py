"""How what belongs to one process is found in a process that it forks, where that is a worker: as it was at that moment.

Locks and files of the process, references that do not count, caches, views of shared memory. Each is rebuilt from what it is
made of, where pickle refuses it or would make a copy of what is to be shared.
"""

from __future__ import annotations

import _thread
import array as stdlib_array
import contextlib
import contextvars
import ctypes
import functools
import gc
import inspect
import io
import itertools
import marshal
import os
import re
import struct
import sys
import tempfile
import threading
import types
import typing
import weakref
from functools import partial  # by its name: a program may put a mock in its place
from multiprocessing import context, reduction
from typing import Any

import cloudpickle

from serverless_mp import _core
from serverless_mp.store import pickling_guard, region

from .globals import attributes
from .stranger import Stranger

# What is left to read of a file.
_BY_BYTES: Any = cloudpickle.Pickler.dispatch_table[memoryview]
_BY_PARTS: Any = cloudpickle.Pickler.dispatch_table[types.CodeType]
_BY_CONTENT: Any = cloudpickle.Pickler.dispatch_table[io.TextIOWrapper]


def _reduce_lock(lock: Any) -> Any:
    return _remake_lock, (lock.locked(),)


def _remake_lock(is_locked: bool) -> Any:
    lock = _thread.allocate_lock()
    if is_locked:
        lock.acquire()
    return lock


def _reduce_rlock(lock: Any) -> Any:
    count = int(repr(lock).partition("count=")[2].split()[0])
    return _remake_rlock, (count, lock._is_owned())


def _remake_rlock(count: int, is_owned: bool) -> Any:
    """Held as often as it was: by the thread that goes on, or by one that is no more."""
    lock = _thread.RLock()

    def acquire() -> None:
        for _ in range(count):
            lock.acquire()

    if is_owned:
        acquire()
    elif count:
        thread = threading.Thread(target=acquire)
        thread.start()
        thread.join()
    return lock


# What only weak references had brought along lives on: in the program something else holds it.
_alive: list[Any] = []


def _reduce_reference(reference: weakref.ref[Any]) -> Any:
    referent = reference()
    return (_remake_dead, ()) if referent is None else (_remake_reference, (referent,))


def _remake_reference(referent: Any) -> weakref.ref[Any]:
    _alive.append(referent)
    return weakref.ref(referent)


def _remake_dead() -> Any:
    """A reference to what is no longer there."""
    return weakref.ref(type("Gone", (), {})())


def _reduce_weak(container: Any) -> Any:
    content = dict(container) if hasattr(container, "items") else list(container)
    return _remake_weak, (type(container), content)


def _remake_weak(kind: type, content: Any) -> Any:
    _alive.append(content)
    return kind(content)


def _reduce_variable(variable: contextvars.ContextVar[Any]) -> Any:
    value: tuple[Any, ...] = ()
    default: tuple[Any, ...] = ()
    with contextlib.suppress(LookupError):
        value = (variable.get(),)
        default = (contextvars.Context().run(variable.get),)
    return _remake_variable, (variable.name, value, default)


def _remake_variable(name: str, value: tuple[Any, ...], default: tuple[Any, ...]) -> Any:
    variable: Any = contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)
    if value and not (default and value[0] is default[0]):
        variable.set(value[0])
    return variable


def _reduce_cached(function: Any) -> str:
    return function.__qualname__  # of a module that the worker imports


def _reduce_semlock(semlock: _core.SemLock) -> Any:
    """A method of a lock has it in hand, without the lock around it."""
    return _remake_semlock, (semlock.kind, semlock.maxvalue, pickling_guard.hold(semlock, semlock))


def _remake_semlock(kind: int, maxvalue: int, ident: str) -> _core.SemLock:
    return _core.SemLock(kind, 0, maxvalue, id=ident)


def _reduce_database(connection: Any) -> Any:
    """A database in a file is opened anew; one in memory is copied, as a fork copies it."""
    if not _is_local_launch():
        message = "an open database cannot go to a process on another machine"
        raise TypeError(message)
    path = next((row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"), "")
    content = None
    if not path and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        content = connection.serialize()
    settings = {name: getattr(connection, name) for name in ("row_factory", "text_factory")}
    return _remake_database, (path, content, connection.isolation_level, settings)


def _remake_database(path: str, content: bytes | None, isolation_level: Any, settings: dict[str, Any]) -> Any:
    import sqlite3  # noqa: PLC0415 - only where the program has it

    connection = sqlite3.connect(path or ":memory:", isolation_level=isolation_level, check_same_thread=False)
    if content:
        connection.deserialize(content)
    for name, value in settings.items():
        setattr(connection, name, value)
    return connection


def _reduce_popen(started: Any) -> Any:
    return Stranger, (started.pid, started.poll())


def _reduce_region(shared: _core.Region) -> Any:
    return region.rebuild, (pickling_guard.hold(shared, shared), shared.size)


# ---- files: the worker gets the very file, and its place in it, as a forked process does -----------------------


def _is_local_launch() -> bool:
    popen: Any = context.get_spawning_popen()
    return popen is not None and not popen.is_remote


def _reduce_raw_file(file: io.FileIO) -> Any:
    if not _is_local_launch():
        message = "an open file cannot go to a process on another machine"
        raise TypeError(message)
    return _remake_raw_file, (reduction.DupFd(file.fileno()), file.mode, file.name)


def _remake_raw_file(descriptor: Any, mode: str, name: Any) -> io.FileIO:
    # A number of its own: what is rebuilt once more must not close it.
    file = io.FileIO(os.dup(descriptor.detach()), mode.replace("x", "w"))
    file.name = name  # type: ignore[misc]
    return file


def _reduce_reader(file: io.BufferedReader) -> Any:
    if not file.seekable():
        return io.BufferedReader, (file.raw,)
    return _remake_reader, (file.raw, file.tell())


def _remake_reader(raw: io.FileIO, place: int) -> Any:
    # With a place of its own: that of the program is behind what it has read ahead.
    name = raw.name
    with raw:
        raw = io.FileIO(os.open(f"/dev/fd/{raw.fileno()}", os.O_RDONLY))
    raw.name = name  # type: ignore[misc]
    file = io.BufferedReader(raw)
    file.seek(place)
    return file


def _reduce_writer(file: Any) -> Any:
    file.flush()
    return type(file), (file.raw,)


def _closed_file(name: Any, mode: str) -> io.TextIOWrapper:
    file = io.TextIOWrapper(io.BytesIO())
    file.mode = mode  # type: ignore[misc]
    file.close()
    file.__dict__["name"] = name
    return file


def _reduce_text_file(file: io.TextIOWrapper) -> Any:
    if file.closed and file not in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        return _closed_file, (getattr(file.buffer, "name", None), getattr(file, "mode", "r"))
    for name in ("__stdin__", "__stdout__", "__stderr__"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    if not _is_local_launch():
        return _BY_CONTENT(file)
    options = (file.encoding, file.errors, None, file.line_buffering, file.write_through)
    file.flush()
    if file.readable() and file.seekable():
        place = file.tell()
        # What was read ahead is to be read again; without it both go on from one place, as they share the file's.
        if isinstance(file.buffer, io.BufferedReader) or place != os.lseek(file.fileno(), 0, os.SEEK_CUR):
            return _remake_text_reader, (file.buffer, options, place), dict(vars(file))
    return io.TextIOWrapper, (file.buffer, *options), dict(vars(file))


def _remake_text_reader(buffer: io.BufferedReader, options: Any, place: int) -> io.TextIOWrapper:
    file = io.TextIOWrapper(buffer, *options)
    file.seek(place)
    return file


def _reduce_temporary_file(file: Any) -> Any:
    # Its end is the program's affair.
    return tempfile._TemporaryFileWrapper, (file.file, file.name, False)


# ---- arrays over shared memory ---------------------------------------------------------------------------------


# Bytes.
_SMALL = 64 << 20
_CTYPES: Any = ctypes._SimpleCData.__base__


def reduce_array(array: Any) -> Any:
    """How a numpy array is rebuilt over the shared memory, or the file, that it is a view of; None for any other object."""
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
    """Whether it maps a file itself, and is no view of an array that does."""
    return type(array).__name__ == "memmap" and type(array.base).__name__ == "mmap"


def _reduce_map(array: Any, root: Any) -> Any:
    if not _is_local_launch() or root.filename is None:
        return None
    if array is root:
        mode = "r+" if root.mode == "w+" else root.mode
        order = "C" if root.flags.c_contiguous else "F"
        return type(root), (os.fspath(root.filename), root.dtype, mode, root.offset, root.shape, order)
    offset = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    parts = (array.shape, array.dtype, root, offset, array.strides, array.flags.writeable)
    return _remake_map_view, (type(array).__name__ == "memmap", *parts)


def _remake_map_view(is_map: bool, *parts: Any) -> Any:
    import numpy as np  # noqa: PLC0415 - only where the program has it

    array, root = _remake_view(np.ndarray, *parts), parts[2]
    if not is_map:
        return array
    mapped: Any = array.view(np.memmap)
    for name in ("_mmap", "filename", "offset", "mode"):
        setattr(mapped, name, getattr(root, name))
    return mapped


def _reduce_memoryview(view: memoryview) -> Any:
    """One over something that can be written to stays one; of anything else its content is enough."""
    if isinstance(view.obj, _CTYPES) and view.nbytes == ctypes.sizeof(view.obj) and not view.readonly:
        return _remake_view_of_c, (view.obj, view.format)
    if view.readonly or not isinstance(view.obj, (_core.Region, bytearray, stdlib_array.array)) or not view.c_contiguous:
        return _BY_BYTES(view)
    with view.cast("B") as plain, memoryview(view.obj) as whole:
        start = ctypes.addressof(ctypes.c_char.from_buffer(plain)) - ctypes.addressof(ctypes.c_char.from_buffer(whole))
        return _remake_memoryview, (view.obj, start, view.nbytes, view.format, view.shape)


def _remake_view_of_c(owner: Any, form: str) -> memoryview:
    view = memoryview(owner)
    return view if view.format == form else view.cast(form)  # type: ignore[call-overload,no-any-return]


def _remake_memoryview(owner: Any, start: int, size: int, form: str, shape: tuple[int, ...]) -> memoryview:
    plain = memoryview(owner).cast("B")[start : start + size]
    return plain.cast(form) if len(shape) == 1 else plain.cast(form, shape)  # type: ignore[call-overload,no-any-return]


def _is_worth_sharing(array: Any, root: Any) -> bool:
    """Whether a view of another array travels with all of that: a small part of a large one is a copy."""
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


def _reduce_method(method: types.MethodType) -> Any:
    # Whatever its object has under the function's name.
    return types.MethodType, (method.__func__, method.__self__)


def _reduce_new_type(new: Any) -> Any:
    return typing.NewType, (new.__name__, new.__supertype__), {"__module__": new.__module__, "__qualname__": new.__qualname__}


def _reduce_struct(one: struct.Struct) -> Any:
    return struct.Struct, (one.format,)


def _reduce_match(match: re.Match[Any]) -> Any:
    return _remake_match, (match.re, match.string, match.pos, match.endpos, match.span())


def _remake_match(pattern: Any, text: Any, start: int, end: int, span: tuple[int, int]) -> Any:
    found = next((one for one in pattern.finditer(text, start, end) if one.span() == span), None)
    return found or pattern.fullmatch(text, *span)


def _reduce_code(code: types.CodeType) -> Any:
    """As it is, with the file that tracebacks name."""
    try:
        return marshal.loads, (marshal.dumps(code),)
    except ValueError:  # with constants that no compiler makes
        return _BY_PARTS(code)


def _reduce_generator(generator: types.GeneratorType[Any, Any, Any]) -> Any:
    """One that has not begun is what its function gives for its arguments; another one stands in the middle of a frame."""
    if inspect.getgeneratorstate(generator) != inspect.GEN_CREATED:
        message = "cannot pickle 'generator' object that has begun: build it in the target, or hand over a list"
        raise TypeError(message)
    code, given = generator.gi_code, dict(generator.gi_frame.f_locals)  # type: ignore[union-attr]
    function = next(one for one in gc.get_referents(generator) if isinstance(one, types.FunctionType) and one.__code__ is code)
    names = iter(code.co_varnames)
    positional = [given[name] for name in itertools.islice(names, code.co_argcount)]
    named = {name: given[name] for name in itertools.islice(names, code.co_kwonlyargcount)}
    if code.co_flags & inspect.CO_VARARGS:
        positional += given[next(names)]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        named |= given[next(names)]
    return _remake_generator, (function, positional, named)


def _remake_generator(function: Any, positional: list[Any], named: dict[str, Any]) -> Any:
    return function(*positional, **named)


def _reduce_scanner(scanner: Any) -> Any:
    """Of a JSON decoder, written in C."""
    names = ("strict", "object_hook", "object_pairs_hook", "parse_float", "parse_int", "parse_constant")
    return _remake_scanner, ({name: getattr(scanner, name) for name in names},)


def _remake_scanner(parts: dict[str, Any]) -> Any:
    import json.scanner  # noqa: PLC0415 - only where the program has it

    return json.scanner.c_make_scanner(types.SimpleNamespace(**parts))  # type: ignore[attr-defined]


REDUCERS: dict[type, Any] = {
    types.CodeType: _reduce_code,
    memoryview: _reduce_memoryview,
    types.MethodType: _reduce_method,
    partial: partial.__reduce__,
    struct.Struct: _reduce_struct,
    typing.NewType: _reduce_new_type,
    re.Match: _reduce_match,
    _thread.LockType: _reduce_lock,
    _thread.RLock: _reduce_rlock,
    weakref.ref: _reduce_reference,
    weakref.WeakKeyDictionary: _reduce_weak,
    weakref.WeakValueDictionary: _reduce_weak,
    weakref.WeakSet: _reduce_weak,
    contextvars.ContextVar: _reduce_variable,
    functools._lru_cache_wrapper: _reduce_cached,
    Stranger: lambda started: (Stranger, (started.pid, started.returncode)),
    _core.Region: _reduce_region,
    _core.SemLock: _reduce_semlock,
    io.TextIOWrapper: _reduce_text_file,
    io.BufferedReader: _reduce_reader,
    io.BufferedWriter: _reduce_writer,
    io.BufferedRandom: _reduce_writer,
    io.FileIO: _reduce_raw_file,
    tempfile._TemporaryFileWrapper: _reduce_temporary_file,
}
# By module and name: of libraries that a program need not have, and of what is built on this.
REDUCERS_BY_NAME: dict[tuple[str, str], Any] = {
    ("serverless_mp.local.popen", "Popen"): _reduce_popen,
    ("serverless_mp.function.popen", "Popen"): _reduce_popen,
    ("sqlite3", "Connection"): _reduce_database,
    ("_thread", "_ThreadHandle"): lambda handle: (type(handle), ()),
    ("builtins", "generator"): _reduce_generator,
    ("_json", "Scanner"): _reduce_scanner,
    ("random", "SystemRandom"): lambda source: (type(source), ()),
}


def reducer_of_django(kind: type) -> Any:
    """Of a connection to a database, which each process opens for itself; None for anything else."""
    is_one = kind.__name__ == "DatabaseWrapper" and "django.db" in sys.modules
    return (lambda wrapper: (_remake_django_connection, (wrapper.alias,))) if is_one else None


def _remake_django_connection(alias: str) -> Any:
    from django.db import connections  # type: ignore[import-not-found]  # noqa: PLC0415 - only where the program has it

    return connections[alias]

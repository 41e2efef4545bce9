"""Rebuilds, in a worker, objects that belong to one process, in their state at the moment of the fork.

These are locks and files of the process, references that are not counted, caches, and views of shared memory. Each is rebuilt
from its parts, where pickle refuses it or would copy what is to be shared.
"""

from __future__ import annotations

import _thread
import contextlib
import contextvars
import functools
import gc
import inspect
import itertools
import marshal
import pickle
import re
import struct
import sys
import threading
import types
import typing
import warnings
import weakref
from functools import partial  # by its name: a program may put a mock in its place
from typing import Any

import cloudpickle

from serverless_mp import _core
from serverless_mp.store import pickling_guard, region

from . import files, tables
from .foreign_process import Stranger

_WARNS = (3, 12) <= sys.version_info < (3, 14)
_BY_PARTS: Any = cloudpickle.Pickler.dispatch_table[types.CodeType]


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
    """A lock held as often as it was: by the thread that continues, or by a thread that no longer exists."""
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


# Keeps objects alive that only weak references have brought along: in the program something else holds them.
_alive: list[Any] = []


def _reduce_reference(reference: weakref.ref[Any]) -> Any:
    referent = reference()
    return (_remake_dead, ()) if referent is None else (_remake_reference, (referent,))


def _remake_reference(referent: Any) -> weakref.ref[Any]:
    _alive.append(referent)
    return weakref.ref(referent)


def _reduce_weak_proxy(proxy: weakref.ProxyType[Any]) -> Any:
    return _remake_weak_proxy, (_core.referent(proxy),)


def _remake_weak_proxy(referent: Any) -> Any:
    if referent is None:
        return weakref.proxy(type("Gone", (), {})())
    _alive.append(referent)
    return weakref.proxy(referent)


def _remake_dead() -> Any:
    """A reference to an object that no longer exists."""
    return weakref.ref(type("Gone", (), {})())


def _reduce_method_reference(reference: weakref.WeakMethod[Any]) -> Any:
    method = reference()
    return (_remake_dead_method, ()) if method is None else (_remake_method_reference, (method,))


def _remake_method_reference(method: Any) -> weakref.WeakMethod[Any]:
    _alive.append(method.__self__)
    return weakref.WeakMethod(method)


def _remake_dead_method() -> Any:
    return weakref.WeakMethod(type("Gone", (), {"method": lambda _: None})().method)


def _reduce_finalizer(finalizer: weakref.finalize[Any, Any]) -> Any:
    alive = finalizer.peek()
    return _make_finalizer, (), alive and (*alive, finalizer.atexit), None, None, _fill_finalizer


def _make_finalizer() -> weakref.finalize[Any, Any]:
    return weakref.finalize.__new__(weakref.finalize)


def _fill_finalizer(finalizer: weakref.finalize[Any, Any], alive: Any) -> None:
    """The object stays alive here: what holds it in the program may not have come along."""
    obj, function, arguments, named, atexit = alive
    _alive.append(obj)
    weakref.finalize.__init__(finalizer, obj, function, *arguments, **named)
    finalizer.atexit = atexit


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
    """The core's object is also reached through a bound method of a lock, without the lock around it."""
    return _remake_semlock, (semlock.kind, semlock.maxvalue, pickling_guard.hold(semlock, semlock))


def _remake_semlock(kind: int, maxvalue: int, ident: str) -> _core.SemLock:
    return _core.SemLock(kind, 0, maxvalue, id=ident)


def _reduce_database(connection: Any) -> Any:
    """A database in a file is opened again. A database in memory is copied, as a fork copies it."""
    if _is_closed_database(connection):
        return _remake_closed_database, ()
    if not files.is_local_launch():
        message = "an open database cannot go to a process on another machine"
        raise TypeError(message)
    path = next((row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"), "")
    content = None
    if not path and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        content = connection.serialize()
    settings = {name: getattr(connection, name) for name in ("row_factory", "text_factory")}
    return _remake_database, (path, content, connection.isolation_level, settings)


def _is_closed_database(connection: Any) -> bool:
    try:
        connection.total_changes  # noqa: B018 - fails if it is closed
    except sys.modules["sqlite3"].ProgrammingError:
        return True
    return False


def _remake_closed_database() -> Any:
    import sqlite3  # noqa: PLC0415 - only if the program uses it

    connection = sqlite3.connect(":memory:")
    connection.close()
    return connection


def _remake_database(path: str, content: bytes | None, isolation_level: Any, settings: dict[str, Any]) -> Any:
    import sqlite3  # noqa: PLC0415 - only if the program uses it

    connection = sqlite3.connect(path or ":memory:", isolation_level=isolation_level, check_same_thread=False)
    if content:
        connection.deserialize(content)
    for name, value in settings.items():
        setattr(connection, name, value)
    return connection


def _reduce_row(row: Any) -> Any:
    return _remake_row, (row.keys(), tuple(row))


def _remake_row(names: list[str], values: tuple[Any, ...]) -> Any:
    import sqlite3  # noqa: PLC0415 - only if the program uses it

    columns = ", ".join('NULL AS "{}"'.format(name.replace('"', '""')) for name in names)
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        return sqlite3.Row(connection.execute(f"SELECT {columns}"), values)


def _reduce_popen(started: Any) -> Any:
    return Stranger, (started.pid, started.poll())


def _reduce_region(shared: _core.Region) -> Any:
    return region.rebuild, (pickling_guard.hold(shared, shared), shared.size)


def _reduce_method(method: types.MethodType) -> Any:
    # The object may have something else under the function's name.
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
    """Code, including the file name that tracebacks show."""
    try:
        return marshal.loads, (marshal.dumps(code),)
    except ValueError:  # it has constants that no compiler produces
        return _BY_PARTS(code)


def _reduce_generator(generator: types.GeneratorType[Any, Any, Any]) -> Any:
    """A generator that has not started is rebuilt from its function and arguments. A running one cannot be copied."""
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
    """The scanner of a JSON decoder, implemented in C."""
    names = ("strict", "object_hook", "object_pairs_hook", "parse_float", "parse_int", "parse_constant")
    return _remake_scanner, ({name: getattr(scanner, name) for name in names},)


def _remake_scanner(parts: dict[str, Any]) -> Any:
    import json.scanner  # noqa: PLC0415 - only if the program uses it

    return json.scanner.c_make_scanner(types.SimpleNamespace(**parts))  # type: ignore[attr-defined]


def _reduce_re_scanner(scanner: Any) -> Any:
    return _remake_re_scanner, (scanner.lexicon, scanner.scanner.flags)


def _remake_re_scanner(lexicon: Any, flags: int) -> Any:
    return re.Scanner(lexicon, flags)  # type: ignore[attr-defined]


_SILENT = ("ignore", None, DeprecationWarning, None, 0)


def _reduce_iterator(iterator: Any) -> Any:
    """An iterator of itertools, in silence. The program's filters, and what it has been warned of, stay as they are."""
    filters: Any = warnings.filters
    filters.insert(0, _SILENT)
    try:
        return iterator.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    finally:
        filters.remove(_SILENT)


def _reduce_counter(counter: itertools.count[Any]) -> Any:
    parts = _referents(counter)
    if len(parts) == 1:  # that is the step, 1: the number is in C
        try:
            parts = [int(repr(counter).removeprefix("count(").removesuffix(")"))]
        except ValueError:  # Python 3.11 does not say the last number that C can hold
            return counter.__reduce__()
    return itertools.count, tuple(parts)


def _reduce_key(key: Any) -> Any:
    """What `functools.cmp_to_key` has made: of a function, and then of an object."""
    function, *of = _referents(key)
    return _remake_key, (function, *of)


def _referents(one: Any) -> list[Any]:
    """What an object in C refers to, apart from its class."""
    found = gc.get_referents(one)
    return found[1:] if found and found[0] is type(one) else found


def _remake_key(function: Any, *of: Any) -> Any:
    key: Any = functools.cmp_to_key(function)
    return key(*of) if of else key


REDUCERS: dict[type, Any] = {
    # These versions warn that this will end.
    **({one: _reduce_iterator for one in vars(itertools).values() if type(one) is type} if _WARNS else {}),
    itertools.count: _reduce_counter,
    types.CodeType: _reduce_code,
    types.MethodType: _reduce_method,
    partial: partial.__reduce__,
    struct.Struct: _reduce_struct,
    typing.NewType: _reduce_new_type,
    re.Match: _reduce_match,
    _thread.LockType: _reduce_lock,
    _thread.RLock: _reduce_rlock,
    weakref.ref: _reduce_reference,
    weakref.ProxyType: _reduce_weak_proxy,
    weakref.CallableProxyType: _reduce_weak_proxy,
    weakref.WeakMethod: _reduce_method_reference,
    weakref.WeakKeyDictionary: _reduce_weak,
    weakref.WeakValueDictionary: _reduce_weak,
    weakref.WeakSet: _reduce_weak,
    contextvars.ContextVar: _reduce_variable,
    functools._lru_cache_wrapper: _reduce_cached,
    Stranger: lambda started: (Stranger, (started.pid, started.returncode)),
    _core.Region: _reduce_region,
    _core.SemLock: _reduce_semlock,
    **files.REDUCERS,
}
# By module and name: classes of libraries that may be missing, and of modules that import this one.
REDUCERS_BY_NAME: dict[tuple[str, str], Any] = {
    ("weakref", "finalize"): _reduce_finalizer,
    ("serverless_mp.local.popen", "Popen"): _reduce_popen,
    ("serverless_mp.function.popen", "Popen"): _reduce_popen,
    ("sqlite3", "Connection"): _reduce_database,
    ("sqlite3", "Row"): _reduce_row,
    ("_thread", "_ThreadHandle"): lambda handle: (type(handle), ()),
    ("builtins", "generator"): _reduce_generator,
    ("_json", "Scanner"): _reduce_scanner,
    ("functools", "KeyWrapper"): _reduce_key,
    ("re", "Scanner"): _reduce_re_scanner,
    ("_io", "BytesIO"): files.reduce_buffer_in_memory,
    ("_io", "StringIO"): files.reduce_buffer_in_memory,
    ("socket", "socket"): files.reduce_socket,
    ("_csv", "writer"): tables.reduce_writer,
    ("_csv", "Writer"): tables.reduce_writer,
    ("_csv", "reader"): tables.reduce_reader,
    ("_csv", "Reader"): tables.reduce_reader,
    ("random", "SystemRandom"): lambda source: (type(source), ()),
}


def reducer_of_library(kind: type) -> Any:
    """The reducer of a Django database connection, which each process opens for itself, of a function of numpy, of a quantity
    of pint, or of a proxy of wrapt; else None.
    """
    if kind.__name__ == "DatabaseWrapper" and "django.db" in sys.modules:
        return lambda wrapper: (_remake_django_connection, (wrapper.alias,))
    if kind.__name__ == "ufunc" and kind.__module__ == "numpy":
        return _reduce_ufunc
    if kind.__name__ in _OF_PINT and "pint" in sys.modules and hasattr(kind, "_REGISTRY"):
        return _reduce_quantity
    wrapt: Any = sys.modules.get("wrapt")
    return _reduce_proxy if wrapt is not None and issubclass(kind, wrapt.ObjectProxy.__mro__[-2]) else None


def _reduce_ufunc(ufunc: Any) -> Any:
    """A function that `numpy.frompyfunc` has made, from the function in it; another one by its name."""
    functions_inside = [one for one in gc.get_referents(ufunc) if callable(one)]
    if not ufunc.__name__.endswith(" (vectorized)") or len(functions_inside) != 1:
        return NotImplemented
    return _remake_ufunc, (functions_inside[0], ufunc.nin, ufunc.nout, ufunc.identity)


def _remake_ufunc(function: Any, nin: int, nout: int, identity: Any) -> Any:
    return sys.modules["numpy"].frompyfunc(function, nin, nout, identity=identity)


_OF_PINT = ("Quantity", "Unit")


def _reduce_quantity(one: Any) -> Any:
    """A quantity or a unit, which belong to their registry; their own rule gives them to another one."""
    parts = (one._units,) if type(one).__name__ == "Unit" else (one._magnitude, one._units)
    return _remake_quantity, (one._REGISTRY, type(one).__name__, *parts)


def _remake_quantity(registry: Any, kind: str, *parts: Any) -> Any:
    return getattr(registry, kind)(*parts)


def _reduce_proxy(proxy: Any) -> Any:
    wrapped = proxy.__wrapped__
    # Its own attributes begin with `_self_`. Nothing returns all of them.
    spaces = [one for one in gc.get_referents(proxy) if type(one) is dict and one is not wrapped]
    own = {name: value for space in spaces[:1] for name, value in space.items() if name.startswith("_self_")}
    wrapt: Any = sys.modules["wrapt"]
    names: tuple[str, ...]
    if issubclass(type(proxy), wrapt.BoundFunctionWrapper):
        base, names = wrapt.BoundFunctionWrapper, ("instance", "wrapper", "enabled", "binding", "parent")
    elif issubclass(type(proxy), wrapt.FunctionWrapper):
        base, names = wrapt.FunctionWrapper, ("wrapper", "enabled")
    else:
        base, names = wrapt.ObjectProxy, ()
    more = [getattr(proxy, f"_self_{name}") for name in names]
    return _remake_proxy, (base, type(proxy), wrapped, *more), own, None, None, _fill_proxy


def _remake_proxy(base: Any, kind: Any, *arguments: Any) -> Any:
    proxy = kind.__new__(kind)
    base.__init__(proxy, *arguments)
    return proxy


def _fill_proxy(proxy: Any, own: dict[str, Any]) -> None:
    for name, value in own.items():
        setattr(proxy, name, value)


def _remake_django_connection(alias: str) -> Any:
    from django.db import connections  # noqa: PLC0415 - only if the program uses it

    return connections[alias]

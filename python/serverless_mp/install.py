"""`install()`: the same context behind the name `multiprocessing`, for code that imports that.

Registering the contexts is necessary and not sufficient: `multiprocessing.Lock` is a bound method which the module took
from its default context when it was imported. So the default context gets our factories and the public names are taken
from it again; five are left alone, which dispatch by themselves or must be CPython's own. Names that other modules have
imported from `multiprocessing` before are out of reach.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
from multiprocessing import context as _stdlib
from typing import TYPE_CHECKING, Any

from . import alias, config, context, reduction
from .program import own_fork, registrations

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEFT_ALONE = {"Process", "get_context", "get_start_method", "set_start_method", "reducer"}

# What is ours in the submodules. Each is CPython's class with another leaf, or takes the same arguments.
_SUBMODULES = {
    "context": ("ForkContext", "ForkProcess", "ForkServerContext", "ForkServerProcess", "SpawnContext", "SpawnProcess"),
    "connection": ("Client", "Listener", "Pipe", "wait"),
    "heap": ("Arena",),
    "managers": ("BaseManager", "SharedMemoryManager", "SyncManager"),
    "pool": ("Pool",),
    "reduction": ("recv_handle", "send_handle"),
    "resource_sharer": ("_resource_sharer", "stop"),
    "queues": ("JoinableQueue", "Queue", "SimpleQueue"),
    "shared_memory": ("ShareableList", "SharedMemory"),
    "sharedctypes": ("Array", "RawArray", "RawValue", "Value", "copy"),
    "synchronize": ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"),
}

_replaced: list[tuple[Any, str, Any]] = []
_aliases: list[alias.Alias] = []


def install(as_: Iterable[str] = ()) -> None:
    """Puts `serverless_mp` behind the name `multiprocessing`, and behind joblib's process backends.

    `as_`: further names, of packages that are drop-ins for multiprocessing: `install(as_=["multiprocess"])`. Call it before the
    modules that use them are imported. A second call only adds names. Raises ValueError for what is no package's name,
    RuntimeError for a package that is imported already.
    """
    _serve_as([as_] if isinstance(as_, str) else as_)
    if _replaced:
        return
    default = _stdlib._default_context  # type: ignore[attr-defined]
    concrete = _stdlib._concrete_contexts  # type: ignore[attr-defined]
    _replaced.append((default, "__class__", default.__class__))
    default.__class__ = context.ServerlessDefaultContext
    _replace(_stdlib, "_concrete_contexts", concrete | context.CONTEXTS)
    _replace(default, "_default_context", context.initial())
    if default._actual_context is not None:
        _replace(default, "_actual_context", context.CONTEXTS[default._actual_context._name])
    for name in multiprocessing.__all__:
        if name not in _LEFT_ALONE:
            _replace(multiprocessing, name, getattr(default, name))
    for owner, name, own in (*registrations.NOTING, *own_fork.REPLACED):
        _replace(owner, name, own)
    for module, names in _SUBMODULES.items():
        theirs = importlib.import_module(f"multiprocessing.{module}")
        ours = importlib.import_module(f"{__package__}.{module}")
        for name in names:
            _replace(theirs, name, getattr(ours, name))
    # Its queues' feeders pickle as we do.
    _replace(importlib.import_module("multiprocessing.queues"), "_ForkingPickler", reduction)
    heap = importlib.import_module("multiprocessing.heap")
    _replace(heap.BufferWrapper, "_heap", heap.Heap())
    if config.launcher() == "lambda":
        # pandarallel hands its workers paths in this directory, if there is such a one; a function would not find them.
        os.environ.setdefault("MEMORY_FS_ROOT", f"{os.devnull}/of-no-function")
    from . import django_tests, executors, joblib_backend, loky_context  # noqa: PLC0415 - only where they are wanted

    django_tests.install()
    executors.install()
    joblib_backend.install()
    loky_context.install()


def _serve_as(names: Iterable[str]) -> None:
    for name in names:
        if name not in [known.name for known in _aliases]:
            _aliases.append(alias.Alias(name))
    reduction.pickle_by_value(bool(_aliases))


def uninstall() -> None:
    """Gives the names back."""
    from . import django_tests, executors, imports, joblib_backend, loky_context  # noqa: PLC0415 - only where they are wanted

    imports.forget()
    django_tests.uninstall()
    executors.uninstall()
    joblib_backend.uninstall()
    loky_context.uninstall()
    while _aliases:
        _aliases.pop().remove()
    reduction.pickle_by_value(False)
    while _replaced:
        owner, name, value = _replaced.pop()
        setattr(owner, name, value)


def _replace(owner: Any, name: str, value: Any) -> None:
    _replaced.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)


def state() -> dict[str, Any]:
    """What a worker must do to see the same names as this process."""
    names = [known.name for known in _aliases]
    return {"installed": bool(_replaced), "as": names, "method": context.default.get_start_method(allow_none=True)}


def restore(wanted: dict[str, Any]) -> None:
    """Does it, in a worker."""
    if wanted["installed"]:
        install(wanted["as"])
    if wanted["method"] is not None:
        context.default.set_start_method(wanted["method"], force=True)

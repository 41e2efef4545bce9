"""`install()` puts our context behind the name `multiprocessing`, for code that imports that module.

It is not enough to register the contexts: `multiprocessing.Lock`, for example, is a bound method that the module took from its
default context at import. So the default context gets our factories, and the public names are taken from it again. Five names
are left alone, because they look up the context themselves or must be CPython's own. Names that other modules have imported
from `multiprocessing` earlier cannot be changed.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
from multiprocessing import context as _stdlib
from typing import TYPE_CHECKING, Any

from . import config, context, installed, native, reduction
from .program import own_fork, registrations

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEFT_ALONE = {"Process", "get_context", "get_start_method", "set_start_method", "reducer"}

# Our names in the submodules. Each is CPython's class over our core, or takes the same arguments.
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


def install(as_: Iterable[str] = ()) -> None:
    """Puts `serverless_mp` behind the name `multiprocessing`, and behind joblib's process backends.

    `as_`: further names to serve, of packages that are drop-ins for multiprocessing: `install(as_=["multiprocess"])`. Call it
    before the modules that use them are imported. A second call only adds names. Raises ValueError for a string that is not the
    name of a package, RuntimeError for a package that is imported already.

    In a plain Lambda function, and where SERVERLESS_MP_LAUNCHER is `native`, multiprocessing stays CPython's, but needs no
    /dev/shm any more.
    """
    if not native.is_wanted():
        return _install(as_)
    if as_:
        message = f"native multiprocessing is CPython's, and serves no other names: set {config.launcher.name}=local for {as_}"
        raise ValueError(message)
    return native.install()


def _install(as_: Iterable[str]) -> None:
    _serve_as([as_] if isinstance(as_, str) else as_)
    if installed.replaced:
        return
    default = _stdlib._default_context  # type: ignore[attr-defined]
    method = default.get_start_method(allow_none=True) or context.default.get_start_method(allow_none=True)
    concrete = _stdlib._concrete_contexts  # type: ignore[attr-defined]
    installed.replace(default, "__class__", context.ServerlessDefaultContext)
    installed.replace(_stdlib, "_concrete_contexts", concrete | context.CONTEXTS)
    installed.replace(default, "_default_context", context.initial())
    if method is not None:
        installed.replace(default, "_actual_context", context.CONTEXTS[method])
    for name in multiprocessing.__all__:
        if name not in _LEFT_ALONE:
            installed.replace(multiprocessing, name, getattr(default, name))
    for owner, name, own in (*registrations.NOTING, *own_fork.REPLACED):
        installed.replace(owner, name, own)
    for module, names in _SUBMODULES.items():
        theirs = importlib.import_module(f"multiprocessing.{module}")
        ours = importlib.import_module(f"{__package__}.{module}")
        for name in names:
            installed.replace(theirs, name, getattr(ours, name))
    # The feeders of CPython's queues then pickle as our queues do.
    installed.replace(importlib.import_module("multiprocessing.queues"), "_ForkingPickler", reduction)
    heap = importlib.import_module("multiprocessing.heap")
    installed.replace(heap.BufferWrapper, "_heap", heap.Heap())
    if config.launcher() == "lambda":
        # pandarallel passes paths in this directory to its workers if the directory exists; a function would not find them.
        os.environ.setdefault("MEMORY_FS_ROOT", f"{os.devnull}/of-no-function")
    from .integrations import django, executors, joblib, loky  # noqa: PLC0415 - only where they are wanted

    django.install()
    executors.install()
    joblib.install()
    loky.install()


def _serve_as(names: Iterable[str]) -> None:
    from .integrations import alias  # noqa: PLC0415 - only where it is wanted

    for name in names:
        if name not in [known.name for known in installed.aliases]:
            installed.aliases.append(alias.Alias(name))
    reduction.pickle_by_value(bool(installed.aliases))


def uninstall() -> None:
    """Undoes `install()`: the names refer to CPython's objects again."""
    from .integrations import django, executors, joblib, loky  # noqa: PLC0415 - only where they are wanted
    from .program import import_hooks  # noqa: PLC0415 - only where they are wanted

    import_hooks.forget()
    django.uninstall()
    executors.uninstall()
    joblib.uninstall()
    loky.uninstall()
    while installed.aliases:
        installed.aliases.pop().remove()
    reduction.pickle_by_value(False)
    installed.give_back()


def restore(wanted: dict[str, Any]) -> None:
    """In a worker: makes the process see the same names as the program. `wanted` is what `installed.state` returned there."""
    if wanted["native"]:
        native.install()
    elif wanted["installed"]:
        _install(wanted["as"])
    elif installed.replaced:
        uninstall()  # the zygote was preloaded for a program that has called `uninstall()` since
    if wanted["method"] is not None:
        context.default.set_start_method(wanted["method"], force=True)

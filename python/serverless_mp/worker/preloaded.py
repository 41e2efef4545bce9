"""The preloaded zygote: a fork of the zygote that has imported the program's modules, so that its workers need not import them.

It is used only if the imports leave no difference: no thread that forks would end, no session, no error, the same files.
Otherwise workers are forked from the first zygote. `preloaded_in_function` has the differences in a function.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import random
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from serverless_mp.program import main_module, modules
from serverless_mp.program.introspect import attributes, is_a
from serverless_mp.store import session

from . import exit_handlers

if TYPE_CHECKING:
    from collections.abc import Callable

    from serverless_mp.local.preload import Preload


def load(preload: Preload, environment: dict[str, str]) -> bool:
    """Imports the modules. Returns False if the result must not be used."""
    path, sys.path[:] = list(sys.path), preload.path
    try:
        os.environ.clear()
        os.environ.update(environment)
        new = _import_all_of(preload)
    finally:
        sys.path[:] = path
    return new is not None and not any(_is_another(*one, preload.files) for one in new.items()) and settle()


def _import_all_of(preload: Preload) -> dict[str, Any] | None:
    if not preload.others:
        return import_all(preload.modules, preload.arguments, preload.names)
    from serverless_mp.fork.restore import silence  # noqa: PLC0415 - where processes fork

    wanted = {*preload.modules, *preload.others}
    with silence():
        names = [name for name in preload.files if name in wanted]
        return import_all(names, preload.arguments, preload.names, _Imports().load_if_possible, may_draw=True)


class _Imports:
    """Imports of which some may fail: the worker tries these again."""

    def __init__(self) -> None:
        self._failed: tuple[str, ...] = ()

    def load_if_possible(self, name: str) -> None:
        """Imports a module, unless a package above it has failed."""
        if name.startswith(self._failed):
            return
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - from a library
            self._failed += (f"{name}.",)


def import_all(
    names: list[str],
    arguments: list[str],
    installed: dict[str, Any],
    load_one: Callable[[str], Any] = importlib.import_module,
    *,
    may_draw: bool = False,
) -> dict[str, Any] | None:
    """Imports modules as a worker of the program would. Returns all new modules, or None if they must not be used.

    `may_draw`: whether a module may have a random number generator of its own.
    """
    opened, before = [], set(sys.modules)

    def refuse(*_args: object, **_options: object) -> NoReturn:
        opened.append(True)
        raise SystemExit

    # While importing for others, no module may create an object of a session, and no file of the program may be imported.
    ensure, session.ensure = session.ensure, refuse
    before_arguments, sys.argv[:] = list(sys.argv), arguments
    exit_handlers.begin()
    try:
        from serverless_mp.install import restore  # noqa: PLC0415 - where it is wanted

        restore(installed)
        for name in names:
            load_one(name)
    except BaseException:  # noqa: BLE001 - errors of imports, or the refusal: the worker itself reports them
        return None
    finally:
        session.ensure = ensure
        sys.argv[:] = before_arguments
    new = {name: module for name, module in list(sys.modules.items()) if name not in before}
    return None if opened or (not may_draw and any(_draws(*one) for one in new.items())) else new


def settle() -> bool:
    """Prepares the process for its forks. Returns False if it has threads that a fork would not end."""
    if not _forks_alone():
        return False
    main_module.note_followers()
    gc.collect()
    gc.freeze()
    return True


def _is_another(name: str, module: object, files: dict[str, str]) -> bool:
    """Whether a module comes from another file than in the program, or from a file that is not part of an installation."""
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    is_own = isinstance(origin, str) and os.path.isabs(origin) and not modules.is_installed(origin)
    return is_own or (name in files and files[name] != origin)


def _draws(name: str, module: object) -> bool:
    """Whether a module has a random number generator of its own, which would give each worker the same numbers."""
    if name.partition(".")[:1] == ("random",) or name.startswith("numpy.random"):
        return False  # `random` reseeds itself, `part_from_others` reseeds numpy
    numpy_random = sys.modules.get("numpy.random")
    kinds = (random.Random, *(() if numpy_random is None else (numpy_random.Generator, numpy_random.RandomState)))
    common = (random._inst, getattr(getattr(numpy_random, "mtrand", None), "_rand", None))  # type: ignore[attr-defined]
    values = list(attributes(module).values()) if is_a(module, types.ModuleType) else []
    return any(is_a(value, kinds) and not is_a(value, random.SystemRandom) and value not in common for value in values)


def _forks_alone() -> bool:
    """Whether a fork disturbs no other thread: libraries such as OpenBLAS end their threads before a fork."""
    with warnings.catch_warnings(action="ignore"):  # of the threads that are looked for here
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    try:
        others = {*os.listdir("/proc/self/task")} - {str(threading.get_native_id())}
    except OSError:  # a system without /proc
        return False
    return threading.active_count() == 1 and all(map(_outlives_forks, others))


def _outlives_forks(thread: str) -> bool:
    """Whether a thread's library stops it before a fork and starts it again on both sides: the memory of pyarrow (jemalloc)."""
    with contextlib.suppress(OSError):  # it has just ended
        return Path(f"/proc/self/task/{thread}/comm").read_text().strip() == "jemalloc_bg_thd"
    return True


def part_from_others() -> None:
    """In a worker: reseeds numpy, whose state from the import would be the same in each worker."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()  # `random` of the standard library does so itself

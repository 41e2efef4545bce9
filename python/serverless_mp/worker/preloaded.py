"""The preloaded zygote: a fork of the zygote that has imported what the program has, so that its workers need not.

It imports while the first worker, which the zygote itself has started, runs. It is used only if nothing is different for that:
one thread after a fork, no session, the same files, no error. Otherwise workers come from the first zygote as before.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import sys
import threading
import types
from typing import TYPE_CHECKING, NoReturn

from serverless_mp.program import main_module, modules
from serverless_mp.store import session

from . import exit_handlers

if TYPE_CHECKING:
    from serverless_mp.local.preload import Preload


def load(preload: Preload, environment: dict[str, str]) -> bool:
    """Imports all of it. False: what came of it is not to be used."""
    opened, before = [], set(sys.modules)

    def refuse(*_args: object, **_options: object) -> NoReturn:
        opened.append(True)
        raise SystemExit

    # No module may make an object of a session where it is imported for others; nor is a file of the program's own imported.
    ensure, session.ensure = session.ensure, refuse
    path, sys.path[:] = list(sys.path), preload.path
    arguments, sys.argv[:] = list(sys.argv), preload.arguments
    exit_handlers.begin()
    try:
        os.environ.clear()
        os.environ.update(environment)
        from serverless_mp.install import restore  # noqa: PLC0415 - where it is wanted

        restore(preload.names)
        for name in preload.modules:
            importlib.import_module(name)
    except BaseException:  # noqa: BLE001 - of foreign code, or the refusal: the worker imports it itself, and says what is wrong
        return False
    finally:
        session.ensure = ensure
        sys.path[:], sys.argv[:] = path, arguments
    new = [(name, module) for name, module in list(sys.modules.items()) if name not in before]
    if opened or any(_is_another(name, module, preload.files) or _draws(name, module) for name, module in new):
        return False
    if not _forks_alone():
        return False
    main_module.note_followers()
    gc.collect()
    gc.freeze()
    return True


def _is_another(name: str, module: object, files: dict[str, str]) -> bool:
    """Whether it comes from another file than in the program, or from one that is no installation's."""
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    is_own = isinstance(origin, str) and os.path.isabs(origin) and not modules.is_installed(origin)
    return is_own or (name in files and files[name] != origin)


def _draws(name: str, module: object) -> bool:
    """Whether a module has a source of random numbers of its own, which would be the same in each worker."""
    if name.partition(".")[:1] == ("random",) or name.startswith("numpy.random"):
        return False  # the first sees to that by itself, the other is seen to below
    numpy_random = sys.modules.get("numpy.random")
    kinds = (random.Random, *(() if numpy_random is None else (numpy_random.Generator, numpy_random.RandomState)))
    common = (random._inst, getattr(getattr(numpy_random, "mtrand", None), "_rand", None))  # type: ignore[attr-defined]
    values = list(vars(module).values()) if isinstance(module, types.ModuleType) else []
    return any(
        isinstance(value, kinds) and not isinstance(value, random.SystemRandom) and value not in common for value in values
    )


def _forks_alone() -> bool:
    """Whether a fork takes no other thread from its work: libraries such as OpenBLAS end theirs before."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return threading.active_count() == 1 and len(os.listdir("/proc/self/task")) == 1


def part_from_others() -> None:
    """In a worker: random numbers that were drawn when a module was imported must not be the same in each."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()  # the standard library's own does so by itself

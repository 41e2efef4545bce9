"""The preloaded zygote: a fork of the zygote that has imported what the program has, so that its workers need not.

It imports while the first worker, which the zygote itself has started, runs. It is used only if nothing is different for that:
one thread after a fork, no session, the same files, no error. Otherwise workers come from the first zygote as before.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from serverless_mp.program import main_module
from serverless_mp.store import session

from . import exit_handlers

if TYPE_CHECKING:
    from serverless_mp.local.preload import Preload


def load(preload: Preload, environment: dict[str, str]) -> bool:
    """Imports all of it. False: what came of it is not to be used."""
    opened = []

    def refuse(*_args: object, **_options: object) -> NoReturn:
        opened.append(True)
        raise SystemExit

    # No module may make an object of a session where it is imported for others.
    ensure, session.ensure = session.ensure, refuse
    exit_handlers.begin()
    try:
        os.environ.clear()
        os.environ.update(environment)
        from serverless_mp.install import restore  # noqa: PLC0415 - where it is wanted

        restore(preload.names)
        same = all(getattr(importlib.import_module(name).__spec__, "origin", None) == file for name, file in preload.modules)
    except BaseException:  # noqa: BLE001 - of foreign code, or the refusal: the worker imports it itself, and says what is wrong
        return False
    finally:
        session.ensure = ensure
    if opened or not same or not _forks_alone():
        return False
    main_module.note_followers()
    gc.collect()
    gc.freeze()
    return True


def _forks_alone() -> bool:
    """Whether a fork takes no other thread from its work: libraries such as OpenBLAS end theirs before."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return threading.active_count() == 1 and len(os.listdir("/proc/self/task")) == 1


def part_from_others() -> None:
    """In a worker: random numbers that were drawn when a module was imported must not be the same in each."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()  # the standard library's own does so by itself

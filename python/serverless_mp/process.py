"""Counterpart of the process classes of `multiprocessing.context`: one class for each start method, all of which launch
workers.
"""

from __future__ import annotations

import contextlib
import os
import sys
from multiprocessing import process
from multiprocessing.process import BaseProcess, active_children, current_process, parent_process
from typing import Any

from . import _core, config
from .stdlib import public_names

__all__ = ["BaseProcess", "active_children", "current_process", "parent_process"]


def launch(process_obj: Any, method: str | None = None) -> Any:
    """Launches a process on this machine or in a function. `method`: the start method, if it is not that of the class."""
    if config.launcher() == "lambda" and not _stays(process_obj):
        from .function.popen import Popen as RemotePopen  # noqa: PLC0415 - lazy, as in CPython

        return RemotePopen(process_obj, method)
    from .local.popen import Popen  # noqa: PLC0415 - the same

    return Popen(process_obj, method)


def starts_in_a_row(context: Any) -> contextlib.AbstractContextManager[None]:
    """For the starts of a pool's workers: only the first of them examines all modules, since no code of the program runs
    between two, unless the context or its process class is the program's own.
    """
    if context.get_start_method() != "fork" or context.Process is not ForkProcess:
        return contextlib.nullcontext()
    from .fork import survey  # noqa: PLC0415 - the other start methods do not need it

    return survey.starts_in_a_row()


def _stays(process_obj: Any) -> bool:
    """Whether a process always runs beside its parent: the server of a manager, which serves all processes for the whole
    run.
    """
    managers = sys.modules.get("multiprocessing.managers")
    owner = getattr(process_obj._target, "__self__", None)
    return managers is not None and isinstance(owner, type) and issubclass(owner, managers.BaseManager)


# How many processes had ended when they were last removed from CPython's set of children.
_removed = 0


def _remove_ended() -> None:
    global _removed  # noqa: PLW0603 - one per process
    ended = _core.Job.count_ended()
    if ended != _removed:
        _removed = ended
        process._cleanup()  # type: ignore[attr-defined]


class ServerlessProcess(BaseProcess):
    """A process whose target runs in a worker."""

    _start_method = "serverless"

    def start(self: Any) -> None:
        """CPython's, except that the children are asked whether they have ended only if one has: each start would ask
        thousands.
        """
        self._check_closed()
        assert self._popen is None, "cannot start a process twice"  # noqa: S101 - CPython's
        assert self._parent_pid == os.getpid(), "can only start a process object created by current process"  # noqa: S101 - the same
        this: Any = current_process()
        assert not this._config.get("daemon"), "daemonic processes are not allowed to have children"  # noqa: S101 - the same
        _remove_ended()
        popen = self._popen = self._Popen(self)
        self._sentinel = popen.sentinel
        # No circle of references if an argument of the target refers to this process.
        del self._target, self._args, self._kwargs
        process._children.add(self)  # type: ignore[attr-defined]

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return launch(process_obj)

    @staticmethod
    def _after_fork() -> None:
        """Does nothing: no state crosses a fork."""


class SpawnProcess(ServerlessProcess):
    """The process class of the start method `spawn`."""

    _start_method = "spawn"


class ForkServerProcess(ServerlessProcess):
    """The process class of the start method `forkserver`."""

    _start_method = "forkserver"


class ForkProcess(ServerlessProcess):
    """The process class of the start method `fork`."""

    _start_method = "fork"


public_names.complete(__name__)

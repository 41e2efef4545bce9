"""Counterpart of the process classes of `multiprocessing.context`: one class for each start method, all of which launch
workers.
"""

from __future__ import annotations

import sys
from multiprocessing.process import BaseProcess, active_children, current_process, parent_process
from typing import Any

from . import config
from .stdlib import public_names

__all__ = ["BaseProcess", "active_children", "current_process", "parent_process"]


def launch(process_obj: Any, method: str | None = None) -> Any:
    """Launches a process on this machine or in a function. `method`: the start method, if it is not that of the class."""
    if config.launcher() == "lambda" and not _stays(process_obj):
        from .function.popen import Popen as RemotePopen  # noqa: PLC0415 - lazy, as in CPython

        return RemotePopen(process_obj, method)
    from .local.popen import Popen  # noqa: PLC0415 - the same

    return Popen(process_obj, method)


def _stays(process_obj: Any) -> bool:
    """Whether a process always runs beside its parent: the server of a manager, which serves all processes for the whole
    run.
    """
    managers = sys.modules.get("multiprocessing.managers")
    owner = getattr(process_obj._target, "__self__", None)
    return managers is not None and isinstance(owner, type) and issubclass(owner, managers.BaseManager)


class ServerlessProcess(BaseProcess):
    """A process whose target runs in a worker."""

    _start_method = "serverless"

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

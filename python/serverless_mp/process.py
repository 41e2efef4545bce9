"""As `multiprocessing.context`'s process classes: one for each start method's name, each launching our way."""

from __future__ import annotations

from multiprocessing.process import BaseProcess, active_children, current_process, parent_process
from typing import Any

from . import public

__all__ = ["BaseProcess", "active_children", "current_process", "parent_process"]


class ServerlessProcess(BaseProcess):
    """A process whose target runs in a worker."""

    _start_method = "serverless"

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        from .popen import Popen  # noqa: PLC0415 - lazy, as in CPython

        return Popen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        """Nothing crosses a fork."""


class SpawnProcess(ServerlessProcess):
    """Under the name `spawn`."""

    _start_method = "spawn"


class ForkServerProcess(ServerlessProcess):
    """Under the name `forkserver`."""

    _start_method = "forkserver"


class ForkProcess(ServerlessProcess):
    """Under the name `fork`."""

    _start_method = "fork"


public.complete(__name__)

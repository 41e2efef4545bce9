"""A process in AWS Lambda: launched by an invocation, known here by an assigned id, and signalled through the store."""

from __future__ import annotations

from typing import Any

from serverless_mp import config
from serverless_mp.local import popen
from serverless_mp.program import environment as program_environment

from . import launcher, pids, preload


class Popen(popen.Popen):
    """A process in a function. It differs from a local one by its launcher and by a record with the program's code."""

    is_remote = True

    def duplicate_for_child(self, fd: int) -> int:  # noqa: ARG002 - CPython's signature
        """Raises ValueError."""
        message = "an open file descriptor (a socket, a file) cannot go to a process on another machine"
        raise ValueError(message)

    def _launcher(self) -> Any:
        return launcher.invoker()

    def _launch(self, process_obj: Any) -> None:
        with launcher.starting():
            super()._launch(process_obj)
        launcher.launched(self._job)

    def _event(self, job: str, worker: str, environment: dict[str, str]) -> tuple[bytes, list[int]]:  # noqa: ARG002
        """Empty: the core makes the event, for all processes of an invocation."""
        return b"", []

    def _least_apart(self) -> int:
        return config.large_argument()

    def _preparation(self, process_obj: Any, environment: dict[str, str]) -> dict[str, Any]:
        described = program_environment.describe(environment)
        self.preload = preload.name(described)
        return super()._preparation(process_obj, environment) | {"remote": described | {"preload": self.preload}}

    def _ended(self, code: int) -> None:
        super()._ended(code)
        pids.forget(self._job)

    def _deliver(self, sig: int) -> None:
        self._job.signal(int(sig))

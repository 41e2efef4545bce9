"""A process that another process has started."""

from __future__ import annotations

import contextlib
import functools
import os
import signal


class Stranger:
    """Another process' child, as a forked process sees it: it can be sent signals, but not waited for."""

    def __init__(self, pid: int, returncode: int | None) -> None:
        self.pid, self.returncode = pid, returncode

    def poll(self, flag: int = os.WNOHANG) -> int | None:  # noqa: ARG002 - CPython's signature
        """The exit code, if the process had ended before the fork."""
        return self.returncode

    def _send_signal(self, sig: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    interrupt = functools.partialmethod(_send_signal, signal.SIGINT)
    terminate = functools.partialmethod(_send_signal, signal.SIGTERM)
    kill = functools.partialmethod(_send_signal, signal.SIGKILL)

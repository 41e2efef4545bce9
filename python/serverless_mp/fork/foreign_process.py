"""A process that another one has started."""

from __future__ import annotations

import contextlib
import functools
import os
import signal


class Stranger:
    """A process that another one has started, as a forked process sees it: it can be sent signals, and not waited for."""

    def __init__(self, pid: int, returncode: int | None) -> None:
        self.pid, self.returncode = pid, returncode

    def poll(self, flag: int = os.WNOHANG) -> int | None:  # noqa: ARG002 - CPython's signature
        """The exit code, if it had ended before."""
        return self.returncode

    def _send_signal(self, sig: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    interrupt = functools.partialmethod(_send_signal, signal.SIGINT)
    terminate = functools.partialmethod(_send_signal, signal.SIGTERM)
    kill = functools.partialmethod(_send_signal, signal.SIGKILL)

"""The start method fork: a worker, not forked from the program, gets what a forked process would have. See README.md."""

from __future__ import annotations

import functools

_LEAST_CLOUDPICKLE = 3


class ForkStateWarning(UserWarning):
    """A process that forks would have something that its worker does not get."""


@functools.cache
def check_cloudpickle() -> None:
    """Raises RuntimeError where a process cannot be forked, with what to do; other start methods do not need it."""
    import cloudpickle  # noqa: PLC0415 - asked once

    version = str(cloudpickle.__version__)
    if int(version.partition(".")[0]) < _LEAST_CLOUDPICKLE:
        message = (
            f"a process that forks needs cloudpickle {_LEAST_CLOUDPICKLE} or newer, and {version} is installed: install it, or "
            "have the program call multiprocessing.set_start_method('spawn')"
        )
        raise RuntimeError(message)

"""The start method fork: gives a worker, which is not forked from the program, the state of a forked process. See README.md."""

from __future__ import annotations

import functools

_LEAST_CLOUDPICKLE = 3


class ForkStateWarning(UserWarning):
    """Part of the state of a program does not reach a worker that a forked process would have."""


@functools.cache
def check_cloudpickle() -> None:
    """Raises RuntimeError, with the remedy, if cloudpickle is too old to fork. Other start methods do not need it."""
    import cloudpickle  # noqa: PLC0415 - asked once

    version = str(cloudpickle.__version__)
    if int(version.partition(".")[0]) < _LEAST_CLOUDPICKLE:
        message = (
            f"a process that forks needs cloudpickle {_LEAST_CLOUDPICKLE} or newer, and {version} is installed: install it, or "
            "have the program call multiprocessing.set_start_method('spawn')"
        )
        raise RuntimeError(message)

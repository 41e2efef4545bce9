"""The time limit of a remote worker: a function ends after some minutes, whatever runs in it."""

from __future__ import annotations

import time

_retires_at: float | None = None


def set_retirement(moment: float) -> None:
    """In a worker: sets the time, by `time.monotonic`, after which it begins nothing new."""
    global _retires_at  # noqa: PLW0603 - one per process
    _retires_at = moment


def working_time() -> float | None:
    """The seconds during which this worker may begin something new; None means no limit."""
    return None if _retires_at is None else _retires_at - time.monotonic()

"""Content on a worker's disk: fetched once for an environment, shared by its processes, however many come to ask."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def directory(name: str, fill: Callable[[str], None]) -> str:
    """The directory of a content, which `fill` makes where it is not there yet.

    It appears complete or not at all: two that make it at once do not meet.
    """
    place = os.path.join(_root(), name)
    if not os.path.isdir(place):
        making = tempfile.mkdtemp(dir=_root())
        try:
            fill(making)
            with contextlib.suppress(OSError):  # another process was first
                os.rename(making, place)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return place


def _root() -> str:
    root = os.path.join(tempfile.gettempdir(), f"serverless_mp-{os.getuid()}")
    os.makedirs(root, mode=0o700, exist_ok=True)
    if os.stat(root).st_uid != os.getuid():
        message = f"{root} belongs to another user: code is not taken from there"
        raise PermissionError(message)
    return root

"""Content on a worker's disk: fetched once for an environment, shared by its processes, however many come to ask.

Each entry has the name of its content and appears complete or not at all: two that make it at once do not meet.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from tempfile import gettempdir, mkdtemp, mkstemp  # by their names: the program may have put a mock in their places
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def directory(name: str, fill: Callable[[str], None]) -> str:
    """A directory, which `fill` makes where it is not there yet."""
    place = os.path.join(_root(), name)
    if not os.path.isdir(place):
        making = mkdtemp(dir=_root())
        try:
            fill(making)
            with contextlib.suppress(OSError):  # another process was first
                os.rename(making, place)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return place


def file(name: str, fetch: Callable[[], bytes]) -> str:
    """A file, whose content `fetch` gets where it is not there yet."""
    path = place(name)
    if not os.path.exists(path):
        data = fetch()
        _make_room(len(data))
        write(path, data)
    os.utime(path)
    return path


def place(name: str) -> str:
    """Where content of this name is, or would be."""
    return os.path.join(_root(), name)


def write(place: str, data: bytes) -> None:
    """Puts content at a place; of two that do so at once one stays."""
    number, making = mkstemp(dir=_root())
    with open(number, "wb") as f:
        f.write(data)
    os.rename(making, place)


def keep_newest(prefix: str, number: int) -> None:
    """Deletes all but the newest files whose names begin so."""
    found = sorted(Path(_root()).glob(f"{prefix}*"), key=lambda path: path.stat().st_mtime)
    for path in found[:-number]:
        path.unlink(missing_ok=True)


def _make_room(size: int) -> None:
    """A function's disk is small: the files that were used longest ago go. A process that has one mapped keeps it."""
    files = sorted((path for path in Path(_root()).iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    for path in files:
        if shutil.disk_usage(_root()).free > 2 * size:
            return
        path.unlink(missing_ok=True)


def _root() -> str:
    root = os.path.join(gettempdir(), f"serverless_mp-{os.getuid()}")
    os.makedirs(root, mode=0o700, exist_ok=True)
    if os.stat(root).st_uid != os.getuid():
        message = f"{root} belongs to another user: nothing is taken from there"
        raise PermissionError(message)
    return root

"""Content on a worker's disk: fetched once for an environment and shared by its processes.

Each entry is named by its content and appears at once as a whole: two processes may create it at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import shutil
from pathlib import Path
from tempfile import gettempdir, mkdtemp, mkstemp  # imported by name: the program may have put mocks in their places
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOCK = ".lock"
# The directory that contains the cache, if not that of temporary files.
_base: str | None = None
# The lock descriptors of directories that this process uses.
_used: dict[str, int] = {}


def keep_in(base: str) -> None:
    """Sets the directory of the cache, in a worker that has a directory of its own for temporary files."""
    global _base  # noqa: PLW0603 - one per process
    _base = base


def directory(name: str, fill: Callable[[str], None]) -> str:
    """The directory of this name, which `fill` creates if needed. It is kept while this process and its children live."""
    place = os.path.join(_root(), name)
    if place not in _used:
        _used[place] = os.open(place + _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(_used[place], fcntl.LOCK_SH)
    if not os.path.isdir(place):
        making = mkdtemp(dir=_root())
        try:
            fill(making)
            with contextlib.suppress(OSError):  # another process was first
                os.rename(making, place)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    os.utime(place)
    return place


def file(name: str, fetch: Callable[[], bytes]) -> str:
    """The path of a file, whose content `fetch` returns if it is not cached."""
    path = place(name)
    if not os.path.exists(path):
        data = fetch()
        make_room(len(data))
        write(path, data)
    os.utime(path)
    return path


def mapped(name: str, size: int, fill: Callable[[mmap.mmap], None], folder: str | None = None) -> mmap.mmap:
    """Content of `size` bytes, as a map that this process may write to privately.

    The first process of this machine that asks creates the file and fills it by `fill`; others wait for it meanwhile. The file
    is in the caller's folder or in the cache. Without space on the disk, each process has the content in its own memory.
    """
    path = os.path.join(folder or _root(), name)
    with contextlib.ExitStack() as stack:
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            stack.enter_context(_turn(path))
            if (found := _map(path, size)) is not None:
                return found
            making = _reserve(path, size)
        except OSError:  # no space, or no writable directory
            content = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)
            fill(content)
            return content
        try:
            with open(making, "r+b") as new:
                with mmap.mmap(new.fileno(), size) as filled:
                    fill(filled)
                content = mmap.mmap(new.fileno(), size, access=mmap.ACCESS_COPY)
            os.rename(making, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(making)
            raise
        return content


def _map(path: str, size: int) -> mmap.mmap | None:
    """Maps a file, if it exists: another process may delete it at any time."""
    try:
        with open(path, "rb") as f:
            os.utime(f.fileno())
            return mmap.mmap(f.fileno(), size, access=mmap.ACCESS_COPY)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _turn(path: str) -> Iterator[None]:
    """Lets one process at a time create a file. There are few locks, since a lock file cannot be deleted safely."""
    lock = os.open(os.path.join(os.path.dirname(path), f"turn-{path[-1]}{_LOCK}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _reserve(path: str, size: int) -> str:
    """A new file with space for `size` bytes. Raises OSError if the disk has too little."""
    folder = os.path.dirname(path)
    if folder == _root():
        make_room(size)
    number, making = mkstemp(dir=folder)
    try:
        os.posix_fallocate(number, 0, size)
    except OSError:
        os.unlink(making)
        raise
    finally:
        os.close(number)
    return making


def place(name: str) -> str:
    """The path for content of this name, whether it exists or not."""
    return os.path.join(_root(), name)


def write(place: str, data: bytes) -> None:
    """Writes content to a path. If two processes do so at once, one content stays."""
    number, making = mkstemp(dir=_root())
    with open(number, "wb") as f:
        f.write(data)
    os.rename(making, place)


def keep_newest(prefix: str, number: int) -> None:
    """Deletes all but the newest files whose names begin with a prefix."""
    found = sorted(Path(_root()).glob(f"{prefix}*"), key=lambda path: path.stat().st_mtime)
    for path in found[:-number]:
        path.unlink(missing_ok=True)


def make_room(size: int) -> None:
    """Deletes the least recently used content until twice `size` bytes are free, since a function's disk is small.

    A process that has mapped a file keeps its content. A directory in use is not deleted.
    """
    found = [path for path in Path(_root()).iterdir() if path.suffix != _LOCK]
    for path in sorted(found, key=lambda path: path.stat().st_mtime):
        if shutil.disk_usage(_root()).free > 2 * size:
            return
        if path.is_dir():
            _evict(path)
        else:
            path.unlink(missing_ok=True)


def _evict(directory: Path) -> None:
    lock = os.open(f"{directory}{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The directory is renamed before it is removed, so that no reader sees a part of it.
        going = mkdtemp(dir=_root())
        os.rename(directory, os.path.join(going, "content"))
        shutil.rmtree(going, ignore_errors=True)
    except OSError:  # it is in use, or another process was first
        return
    finally:
        os.close(lock)


def _root() -> str:
    root = os.path.join(_base or gettempdir(), f"serverless_mp-{os.getuid()}")
    os.makedirs(root, mode=0o700, exist_ok=True)
    if os.stat(root).st_uid != os.getuid():
        message = f"{root} belongs to another user: nothing is taken from there"
        raise PermissionError(message)
    return root

"""`_posixshmem`'s two functions over files: a name is a file of one directory, and outlives its maker, as in /dev/shm."""

from __future__ import annotations

import _posixshmem
import errno
import os
import stat
import tempfile
from typing import TYPE_CHECKING

from serverless_mp import installed
from serverless_mp.program import import_hooks

if TYPE_CHECKING:
    from types import ModuleType

_directory = ""


def choose(directory: str | None) -> None:
    """Takes this directory, or the one of this user, which is made if need be."""
    global _directory  # noqa: PLW0603 - one per process
    _directory = directory or _own_directory()


def directory() -> str:
    """The one that was chosen."""
    return _directory


def _own_directory() -> str:
    path = os.path.join(tempfile.gettempdir(), f"serverless-mp-shm-{os.getuid()}")
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            message = f"{path} is not a directory of this user alone: remove it, or set TMPDIR to another place"
            raise PermissionError(message) from None
    return path


def shm_open(path: str, flags: int, mode: int = 0o777) -> int:
    """As `_posixshmem.shm_open`: a descriptor. Raises OSError."""
    try:
        return os.open(_file(path), flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except OSError as e:
        raise _about(e, path) from None


def shm_unlink(path: str) -> None:
    """As `_posixshmem.shm_unlink`. Raises OSError."""
    try:
        os.unlink(_file(path))
    except OSError as e:
        raise _about(e, path) from None


def _file(path: str) -> str:
    name = path.lstrip("/")
    if not name or "/" in name or name in (".", ".."):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return os.path.join(_directory, name)


def _about(error: OSError, path: str) -> OSError:
    """It names what its caller has named."""
    return OSError(error.errno, error.strerror, path)


def install() -> None:
    """Puts them in the places of CPython's."""
    installed.replace(_posixshmem, "shm_open", shm_open)
    installed.replace(_posixshmem, "shm_unlink", shm_unlink)
    import_hooks.when_imported("multiprocessing.resource_tracker", _patch_tracker)


def _patch_tracker(module: ModuleType) -> None:
    """Of what a process has left when it was killed."""
    for kind in ("semaphore", "shared_memory"):
        installed.replace_item(module._CLEANUP_FUNCS, kind, shm_unlink)

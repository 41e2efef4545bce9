"""The two functions of `_posixshmem` over files: a name is a file in one directory and outlives its creator, as in /dev/shm."""

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
    """Uses this directory, or that of this user, which is created if needed."""
    global _directory  # noqa: PLW0603 - one per process
    _directory = directory or _own_directory()


def directory() -> str:
    """The chosen directory."""
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
    """Like `_posixshmem.shm_open`: returns a descriptor. Raises OSError."""
    try:
        return os.open(_file(path), flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except OSError as e:
        raise _about(e, path) from None


def shm_unlink(path: str) -> None:
    """Like `_posixshmem.shm_unlink`. Raises OSError."""
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
    """The same error with the name that the caller has given."""
    return OSError(error.errno, error.strerror, path)


def install() -> None:
    """Replaces CPython's functions."""
    installed.replace(_posixshmem, "shm_open", shm_open)
    installed.replace(_posixshmem, "shm_unlink", shm_unlink)
    import_hooks.when_imported("multiprocessing.resource_tracker", _patch_tracker)


def _patch_tracker(module: ModuleType) -> None:
    """Makes the resource tracker remove what killed processes have left."""
    for kind in ("semaphore", "shared_memory"):
        installed.replace_item(module._CLEANUP_FUNCS, kind, shm_unlink)

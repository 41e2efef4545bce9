"""`_multiprocessing.SemLock` over futexes of the kernel: in memory shared by forks, or in a named file."""

from __future__ import annotations

import _multiprocessing
import os
from typing import TYPE_CHECKING

from serverless_mp import _core, installed
from serverless_mp.program import import_hooks

from . import files

if TYPE_CHECKING:
    from types import ModuleType


class SemLock:
    """Replaces CPython's class, with its constructors. They return objects of the core, since a subclass would be slower."""

    SEM_VALUE_MAX = _core.NativeSemLock.SEM_VALUE_MAX

    def __new__(cls, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> _core.NativeSemLock:  # type: ignore[misc]
        """`unlink`: only forks of this process share the lock, so that it needs no name."""
        if unlink:
            return _core.NativeSemLock(kind, value, maxvalue)
        fd = files.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Allocates the space: otherwise a full disk would kill a process by a signal later.
            os.posix_fallocate(fd, 0, _core.NativeSemLock.SIZE)
            return _core.NativeSemLock(kind, value, maxvalue, name, fd)
        except BaseException:
            files.shm_unlink(name)
            raise
        finally:
            os.close(fd)

    @staticmethod
    def _rebuild(_handle: int, kind: int, maxvalue: int, name: str) -> _core.NativeSemLock:
        """In another process: attaches to the lock of this name."""
        fd = files.shm_open(name, os.O_RDWR)
        try:
            return _core.NativeSemLock(kind, None, maxvalue, name, fd)
        finally:
            os.close(fd)


def install() -> None:
    """Replaces CPython's class."""
    installed.replace(_multiprocessing, "SemLock", SemLock)
    installed.replace(_multiprocessing, "sem_unlink", files.shm_unlink)
    import_hooks.when_imported("multiprocessing.synchronize", _patch_synchronize)


def _patch_synchronize(module: ModuleType) -> None:
    installed.replace(module, "sem_unlink", files.shm_unlink)

"""`_multiprocessing.SemLock` over the kernel's futexes: in memory that forks share, or by its name in a file."""

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
    """In the place of CPython's class, with its constructors. They make the core's own objects: a subclass is slower."""

    SEM_VALUE_MAX = _core.NativeSemLock.SEM_VALUE_MAX

    def __new__(cls, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> _core.NativeSemLock:  # type: ignore[misc]
        """`unlink`: only forks of this process are to share it, so that it needs no name."""
        if unlink:
            return _core.NativeSemLock(kind, value, maxvalue)
        fd = files.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Not by a hole: without room for it a process would be killed by a signal later.
            os.posix_fallocate(fd, 0, _core.NativeSemLock.SIZE)
            return _core.NativeSemLock(kind, value, maxvalue, name, fd)
        except BaseException:
            files.shm_unlink(name)
            raise
        finally:
            os.close(fd)

    @staticmethod
    def _rebuild(_handle: int, kind: int, maxvalue: int, name: str) -> _core.NativeSemLock:
        """In another process: the one of this name."""
        fd = files.shm_open(name, os.O_RDWR)
        try:
            return _core.NativeSemLock(kind, None, maxvalue, name, fd)
        finally:
            os.close(fd)


def install() -> None:
    """Puts it in the place of CPython's."""
    installed.replace(_multiprocessing, "SemLock", SemLock)
    installed.replace(_multiprocessing, "sem_unlink", files.shm_unlink)
    import_hooks.when_imported("multiprocessing.synchronize", _patch_synchronize)


def _patch_synchronize(module: ModuleType) -> None:
    installed.replace(module, "sem_unlink", files.shm_unlink)

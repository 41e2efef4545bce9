"""Shared memory that is allocated in advance: a process that writes to a mapping without space is killed by a signal."""

from __future__ import annotations

import mmap
import os
import types
from multiprocessing import reduction, util
from typing import TYPE_CHECKING, Any

from serverless_mp import installed
from serverless_mp.program import import_hooks

if TYPE_CHECKING:
    from types import ModuleType


def install() -> None:
    """Patches `multiprocessing.heap` (ctypes objects) and `SharedMemory`, now or when they are imported."""
    import_hooks.when_imported("multiprocessing.heap", _patch_heap)
    import_hooks.when_imported("multiprocessing.shared_memory", _patch_shared_memory)


def _patch_heap(module: ModuleType) -> None:
    class Arena(module.Arena):  # type: ignore[name-defined,misc]
        """CPython's class over anonymous memory, where CPython would use a file in /dev/shm."""

        def __init__(self, size: int, fd: int = -1) -> None:
            if fd == -1:
                fd = os.memfd_create("pym")
                util.Finalize(self, os.close, (fd,))
                os.ftruncate(fd, size)
            super().__init__(size, fd)

    installed.replace(module, "Arena", Arena)
    reduction.register(Arena, module.reduce_arena)


def _patch_shared_memory(module: ModuleType) -> None:
    installed.replace(module, "mmap", types.SimpleNamespace(mmap=_map_with_room))


def _map_with_room(fd: int, size: int, *rest: Any, **more: Any) -> mmap.mmap:
    """Like `mmap.mmap`. Raises OSError (ENOSPC) if space for the file cannot be allocated."""
    if os.fstat(fd).st_blocks * 512 < size:
        os.posix_fallocate(fd, 0, size)
    return mmap.mmap(fd, size, *rest, **more)

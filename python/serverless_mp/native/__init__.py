"""CPython's own multiprocessing on machines without /dev/shm: no store, and no workers of ours.

A plain Lambda function is such a machine, and so are many containers. CPython creates semaphores and shared memory by functions
of the C library that fail there (`OSError`, errno 38, 2 or 13). Here they are replaced: semaphores by futexes of the kernel
(`_core.NativeSemLock`), shared memory by files in a directory. Everything else is CPython's: fork, pipes, pools.
"""

from __future__ import annotations

import os
import sys

from serverless_mp import config, installed

# A variable in the environment of every function.
_OF_FUNCTIONS = "AWS_LAMBDA_RUNTIME_API"


def is_wanted() -> bool:
    """Whether the launcher is set to `native`, or is unset and this is a plain Lambda function without a store."""
    if os.environ.get(config.launcher.name):
        return config.launcher() == "native"
    return _OF_FUNCTIONS in os.environ and config.DEPLOYED not in os.environ and config.redis_url() is None


def install(directory: str | None = None) -> None:
    """Makes CPython's multiprocessing use these replacements, in the processes that it starts as well. `uninstall()` undoes it.

    `directory`: where named semaphores and shared memory are files; without it, this user's directory below that of temporary
    files. Raises PermissionError if that directory belongs to another user, RuntimeError on other systems than Linux.
    """
    if installed.replaced:
        return
    if sys.platform != "linux":
        message = f"{config.launcher.name}=native is for Linux; here the standard library's own multiprocessing works"
        raise RuntimeError(message)
    from . import children, files, memory, semaphores  # noqa: PLC0415 - programs with our workers do not need these

    installed.is_native = True
    files.choose(directory)
    files.install()
    semaphores.install()
    memory.install()
    children.install()

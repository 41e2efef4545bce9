"""CPython's own multiprocessing where the machine has no /dev/shm: no store, no workers of ours.

A plain Lambda function is such a machine, and so is many a container. CPython makes semaphores and shared memory by functions
of the C library that fail there (`OSError`, errno 38, 2 or 13). These two have other leaves here: semaphores on which
the kernel lets processes wait (`_core.NativeSemLock`), and files of a directory. Everything else is CPython's: fork, pipes,
pools.
"""

from __future__ import annotations

import os
import sys

from serverless_mp import config, installed

# In the environment of every function.
_OF_FUNCTIONS = "AWS_LAMBDA_RUNTIME_API"


def is_wanted() -> bool:
    """Whether the setting says so, or this is a plain Lambda function whose settings name no launcher and no store."""
    if os.environ.get(config.launcher.name):
        return config.launcher() == "native"
    return _OF_FUNCTIONS in os.environ and config.DEPLOYED not in os.environ and config.redis_url() is None


def install(directory: str | None = None) -> None:
    """Gives CPython's multiprocessing these leaves, in the processes that it starts as well. `uninstall()` gives them back.

    `directory`: where named semaphores and shared memory are files; without one, the user's in the temporary directory. Raises
    PermissionError where that is somebody else's, RuntimeError on other systems than Linux.
    """
    if installed.replaced:
        return
    if sys.platform != "linux":
        message = f"{config.launcher.name}=native is for Linux; here the standard library's own multiprocessing works"
        raise RuntimeError(message)
    from . import children, files, memory, semaphores  # noqa: PLC0415 - what a program on our workers need not load

    installed.is_native = True
    files.choose(directory)
    files.install()
    semaphores.install()
    memory.install()
    children.install()

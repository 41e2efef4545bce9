"""The code of a program's main module, compiled once, in the zygote, for all workers that run it again."""

from __future__ import annotations

import contextlib
import os
import runpy
import stat
import warnings
from typing import Any

_from_file: Any = runpy._get_code_from_file  # type: ignore[attr-defined]
# By path: the identity of the file, and its code as runpy compiles it; None if each worker must compile it itself.
_compiled: dict[str, tuple[tuple[int, ...], Any]] = {}


def compile_for_others(path: str) -> None:
    """In a zygote: compiles the file. Errors and warnings are left to the worker, which reports them."""
    with contextlib.suppress(Exception):
        file = _file(path)
        if file is None:
            return
        if path in _compiled and _compiled[path][0] == file:
            return
        _compiled[path] = file, None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Before Python 3.12, the function also takes the name that the code runs under.
            _compiled[path] = file, _from_file(*("__mp_main__", path)[-_from_file.__code__.co_argcount :])


def _file(path: str) -> tuple[int, ...] | None:
    """The identity and state of a file; None for one that cannot be read twice."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _get_code_from_file(*arguments: str) -> Any:
    """Like the function of runpy, but takes code that was compiled in advance."""
    path = arguments[-1]
    if path in _compiled:
        with contextlib.suppress(OSError):
            file, code = _compiled[path]
            if code is not None and _file(path) == file:
                return code
    return _from_file(*arguments)


def use() -> None:
    """Makes runpy look here first."""
    runpy._get_code_from_file = _get_code_from_file  # type: ignore[attr-defined]

"""The code of a program's main module, compiled once for all workers that run it anew: in the zygote, when one has begun to."""

from __future__ import annotations

import contextlib
import os
import runpy
import stat
import warnings
from typing import Any

_from_file: Any = runpy._get_code_from_file  # type: ignore[attr-defined]
# By path: which file it was, and what runpy has made of it; None for what is to be compiled by each.
_compiled: dict[str, tuple[tuple[int, ...], Any]] = {}


def compile_for_others(path: str) -> None:
    """In a zygote. What cannot be compiled, or not without a warning, is the worker's to tell."""
    with contextlib.suppress(Exception):
        file = _file(path)
        if file is None:
            return
        if path in _compiled and _compiled[path][0] == file:
            return
        _compiled[path] = file, None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Before Python 3.12 by the name that it runs under, too.
            _compiled[path] = file, _from_file(*("__mp_main__", path)[-_from_file.__code__.co_argcount :])


def _file(path: str) -> tuple[int, ...] | None:
    """Which file it is, and which state of it; None for what cannot be read twice."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _get_code_from_file(*arguments: str) -> Any:
    """As runpy's."""
    path = arguments[-1]
    if path in _compiled:
        with contextlib.suppress(OSError):
            file, code = _compiled[path]
            if code is not None and _file(path) == file:
                return code
    return _from_file(*arguments)


def use() -> None:
    """Has runpy look here first."""
    runpy._get_code_from_file = _get_code_from_file  # type: ignore[attr-defined]

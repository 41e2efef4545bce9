"""The preloaded zygote in a function: the same as on the program's machine, with these differences.

* The search path is the function's. No file of the program is on it, and none of the program's names may be looked up.
* A module that is missing here, such as one of another platform or version, is left out: workers do not find it either.
* The variables are those that travel with the program. The directory for temporary files and the home directory are another
  one for each worker by design, so imports see one that no worker has; it must be left empty, and no object may contain its
  path. Workers then set their own.
* It may keep a quarter of the function's memory.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serverless_mp.program import cache, environment

from . import preloaded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serverless_mp.function.preload import Preload

# The share of the function's memory that the imports may keep: as much is no longer there for a worker that uses other modules,
# and for the pages that workers copy.
_MEMORY_SHARE = 0.25

# The variables that the imports have set or, with None, removed.
_changed: dict[str, str | None] = {}


def load(preload: Preload) -> bool:
    """Imports the modules. Returns False if the result must not be used."""
    cache.keep_in(tempfile.gettempdir())
    directory = tempfile.mkdtemp(prefix="process-")
    new = _import(preload, directory)
    is_empty = not os.listdir(directory)
    shutil.rmtree(directory, ignore_errors=True)
    if not new or not is_empty or _has_children() or _changed.keys() & {"TMPDIR", "HOME", *preload.variables}:
        return False
    if any(_is_elsewhere(module) for module in new.values()) or _is_kept(os.path.basename(directory)):
        return False
    return preloaded.settle() and _kept_memory() <= _MEMORY_SHARE * _memory()


def _import(preload: Preload, directory: str) -> dict[str, Any] | None:
    """Imports the modules in the environment of a worker. Returns the new ones, or None if they must not be used."""
    own, path = dict(os.environ), list(sys.path)
    os.environ["TMPDIR"], tempfile.tempdir = directory, None
    environment.take_variables(preload.variables, preload.rules())
    before = dict(os.environ)
    watch = _Watch(frozenset(preload.own))
    sys.meta_path.insert(0, watch)
    try:
        new = preloaded.import_all(preload.modules, preload.arguments, preload.names, _load_one)
    finally:
        sys.meta_path.remove(watch)
    after = dict(os.environ)
    _changed.update({name: after.get(name) for name in after.keys() | before.keys() if after.get(name) != before.get(name)})
    os.environ.clear()
    os.environ.update(own)
    time.tzset()
    tempfile.tempdir = None
    return None if watch.has_seen_own or sys.path[: len(path)] != path else new


def change_variables(wanted: dict[str, str]) -> dict[str, str]:
    """The variables of a worker, as the imports would have changed them."""
    return {name: value for name, value in {**wanted, **_changed}.items() if value is not None}


class _Watch:
    """A finder that finds nothing, and notes whether a name of the program's own modules is looked up."""

    def __init__(self, own: frozenset[str]) -> None:
        self.own = own
        self.has_seen_own = False

    def find_spec(self, name: str, *_: object) -> None:
        self.has_seen_own = self.has_seen_own or name.partition(".")[0] in self.own


def _load_one(name: str) -> None:
    """Imports a module that is here."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{name}.".startswith(f"{e.name}."):
            raise


def _is_elsewhere(module: object) -> bool:
    """Whether a module comes from outside of the function's search path."""
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return (
        isinstance(origin, str)
        and os.path.isabs(origin)
        and not origin.startswith(tuple(f"{entry}/" for entry in sys.path if entry))
    )


def _has_children() -> bool:
    """Whether the imports have started a process that still runs, or that nobody has waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _is_kept(text: str) -> bool:
    """Whether an object that the imports have created contains this text."""
    # Frames may be those of this module's own functions.
    return any(_contains(gc.get_referents(one), text) for one in gc.get_objects() if type(one) is not types.FrameType)


def _contains(parts: Iterable[Any], text: str) -> bool:
    for part in parts:
        kind = type(part)
        if kind is str:
            if text in part and part is not text:
                return True
        elif kind is bytes:
            if text.encode() in part:
                return True
        elif kind in (dict, tuple) and not gc.is_tracked(part) and _contains(gc.get_referents(part), text):
            return True
    return False


def _kept_memory() -> float:
    """The bytes of memory that only this process has."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1]) << 10
    return float("inf")


def _memory() -> int:
    """The memory of the function in bytes, or 0."""
    size = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return int(size) << 20 if size.isdecimal() else 0

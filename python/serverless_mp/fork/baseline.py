"""The state of installed modules in a fresh interpreter, so that only differences from it need be transferred.

Two fresh interpreters, without any code of the program, import the same modules in the same order and report the digest of
every place in them. A place at which the two differ (because of the order of a set, or the time) is not compared. The result is
kept on disk for these files of these modules.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import marshal
import os
import sys
import types
from multiprocessing import spawn, util
from pathlib import Path
from select import POLLIN, poll  # imported by name, as the one below: a program may put mocks in their places
from time import monotonic
from typing import TYPE_CHECKING, Any

from serverless_mp import installed, shadows
from serverless_mp.program import cache, introspect
from serverless_mp.stdlib.own_subprocess import DEVNULL, PIPE, Popen

from . import c_objects, c_types, comparison, digest, objects, places

if TYPE_CHECKING:
    from collections.abc import Callable

# Digests, by module and by place in it.
Baseline = dict[str, dict[str, bytes]]
# Stands for the digest of a value that differs between imports.
VOLATILE = b"?"

# The number of sets of modules kept on disk.
_KEPT = 50
# Seconds allowed for the imports, since some do not end.
_LONGEST = 60


def load(names: list[str]) -> Baseline:
    """The baseline of these modules, from disk or from fresh interpreters. Empty if those fail."""
    path = cache.place(f"baseline-{_key(names)}")
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
        return marshal.loads(Path(path).read_bytes())  # noqa: S302 - in a directory that belongs to this user alone
    first, second = _ask_fresh_interpreters(names)
    base: Baseline = {
        name: {path: value if second.get(name, {}).get(path) == value else VOLATILE for path, value in found.items()}
        for name, found in first.items()
    }
    if base:
        with contextlib.suppress(OSError):  # a full disk
            cache.write(path, marshal.dumps(base))
            cache.keep_newest("baseline-", _KEPT)
    return base


def _ask_fresh_interpreters(names: list[str]) -> list[Baseline]:
    """Digests from two interpreters, so that values that differ between imports show. Empty if one does not end in time."""
    program = (
        f"import sys; sys.path[:] = {shadows.past_own(sys.path)!r}; "
        "from serverless_mp.install import restore; from serverless_mp.fork import baseline; "
        f"baseline.tell(lambda: restore({installed.state()!r}), {names!r}, {sys.path!r}, {shadows.of_path(sys.path)!r})"
    )
    flags = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [os.fsdecode(spawn.get_executable()), *flags, "-c", program]
    asked = [Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, process_group=0) for _ in range(2)]
    answers = []
    for process in asked:
        assert process.stdout is not None  # noqa: S101 - asked for above
        with process.stdout as output:
            try:
                answers.append(marshal.loads(_text(output)))  # noqa: S302 - from our own child
            except (TimeoutError, EOFError, ValueError, TypeError):
                process.kill()
                answers.append({})
        process.wait()
    return answers


def _text(output: Any) -> bytes:
    """What is written to a pipe, to its end. `communicate` would wait by `time.sleep`, which the program may have replaced."""
    last = monotonic() + _LONGEST
    parts: list[bytes] = []
    ready = poll()
    ready.register(output, POLLIN)
    while ready.poll(max(0, last - monotonic()) * 1000):
        part = os.read(output.fileno(), 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)
    raise TimeoutError


def tell(prepare: Callable[[], None], names: list[str], path: list[str], shadowing: list[str]) -> None:
    """In a fresh interpreter: writes the digests to standard output, whatever modules print there. `path`: the program's search
    path, on which it has modules of these names.
    """
    answer = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    prepare()
    if shadowing:
        shadows.set_apart(shadowing)
    sys.path[:] = path
    found = marshal.dumps(_digests(names))
    with open(answer, "wb") as f:
        f.write(found)
    # Skips the exit handlers that modules have registered.
    os._exit(0)


def _key(names: list[str]) -> str:
    """The cache key of these modules in this interpreter: their files and times, and those of the digest code.

    The order of the imports is not a part of it: packages such as pandas import by loops over sets, in another order each time.
    """
    parts = [sys.version, sys.executable]
    for name in [
        *sorted(names),
        __name__,
        *(one.__name__ for one in (comparison, digest, introspect, places, objects, c_objects, c_types)),
    ]:
        file = getattr(sys.modules[name], "__file__", None)
        time = os.stat(file).st_mtime_ns if file and os.path.exists(file) else 0
        parts.append(f"{name} {file} {time}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _digests(names: list[str]) -> dict[str, dict[str, bytes]]:
    """In a fresh process: imports these modules and returns the digest of every place in them."""
    for name in names:
        with contextlib.suppress(BaseException):  # a module that cannot be imported here has no baseline
            importlib.import_module(name)
    found = {}
    made = digest.Digests()
    for name in names:
        module = sys.modules.get(name)
        if type(module) is types.ModuleType:
            all_places = ((".".join(path), value) for path, value in places.places_of(module))
            found[name] = {
                dotted: made.of(value).value for dotted, value in all_places if comparison.is_compared(name, dotted, value)
            }
    return found

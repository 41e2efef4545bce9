"""What a fresh interpreter has of installed modules, so that only what differs from it need travel.

Two fresh interpreters, without any code of the program, import the same modules in the same order and tell the digest of every
place in them; where the two differ (by the order of a set, by the time), nothing is to be learned. What was found is kept on
disk for these files of these modules.
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
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired  # by their names: a program may put mocks in their places
from typing import TYPE_CHECKING

from serverless_mp import installed
from serverless_mp.program import cache

from . import c_objects, c_types, comparison, digest, introspect, objects, places

if TYPE_CHECKING:
    from collections.abc import Callable

# Digests, by module and by place in it.
Baseline = dict[str, dict[str, bytes]]
# In place of the digest of what is not the same at each import.
VOLATILE = b"?"

# On disk: of so many sets of modules.
_KEPT = 50
# Seconds, for modules whose import does not end.
_LONGEST = 60


def load(names: list[str]) -> Baseline:
    """The baseline of these modules, from the disk or from fresh interpreters; empty if those cannot be asked."""
    path = cache.place(f"baseline-{_key(names)}")
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
        return marshal.loads(Path(path).read_bytes())  # noqa: S302 - from a directory of this user alone
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
    """Two, so that what is not the same at each import shows. Empty for one that does not end in time."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        "from serverless_mp.install import restore; from serverless_mp.fork import baseline; "
        f"baseline.tell(lambda: restore({installed.state()!r}), {names!r})"
    )
    flags = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [os.fsdecode(spawn.get_executable()), *flags, "-c", program]
    asked = [
        Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, process_group=0)  # noqa: S603 - this interpreter
        for _ in range(2)
    ]
    answers = []
    for process in asked:
        try:
            text, _ = process.communicate(timeout=_LONGEST)
            answers.append(marshal.loads(text))  # noqa: S302 - from our own child
        except (TimeoutExpired, EOFError, ValueError, TypeError):
            process.kill()
            process.communicate()
            answers.append({})
    return answers


def tell(prepare: Callable[[], None], names: list[str]) -> None:
    """In a fresh interpreter: writes what it finds to standard output, whatever modules print."""
    answer = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    prepare()
    found = marshal.dumps(_digests(names))
    with open(answer, "wb") as f:
        f.write(found)
    # Without what modules have registered for the end.
    os._exit(0)


def _key(names: list[str]) -> str:
    """The key of these modules in this interpreter: their files and times, and those of the code that makes digests."""
    parts = [sys.version, sys.executable]
    for name in [
        *names,
        __name__,
        *(one.__name__ for one in (comparison, digest, introspect, places, objects, c_objects, c_types)),
    ]:
        file = getattr(sys.modules[name], "__file__", None)
        time = os.stat(file).st_mtime_ns if file and os.path.exists(file) else 0
        parts.append(f"{name} {file} {time}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _digests(names: list[str]) -> dict[str, dict[str, bytes]]:
    """In a fresh process: the digest of every place of these modules, which it imports."""
    for name in names:
        with contextlib.suppress(BaseException):  # what does not import here has no baseline
            importlib.import_module(name)
    found = {}
    made = digest.Digests()
    for name in names:
        module = sys.modules.get(name)
        if type(module) is types.ModuleType:
            found[name] = {
                ".".join(path): made.of(value).value
                for path, value in places.places_of(module)
                if comparison.is_compared(name, path, value)
            }
    return found

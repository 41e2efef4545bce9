"""The packages that the environments of a function import once for a program, instead of once for each process.

The program stores one description of them: which modules, and everything that their imports can see of the program. The event
of an invocation contains only its name, for each job. The name begins with a hash of the description, so that later runs of the
same program have the same one. An environment reads the description when it meets the name for the second time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import zlib
from typing import Any, NamedTuple

from serverless_mp import _core, installed
from serverless_mp.local import preload as local_preload
from serverless_mp.program import bundle, environment
from serverless_mp.store import session

# Bytes of a description, before it is compressed. A longer one is not used.
_CAP = 1 << 20
# The maximum number of descriptions of a program: if its processes all differ, they have nothing to share.
_MOST = 8


class Preload(NamedTuple):
    """The modules that a preloaded zygote of a function imports, and what their imports see of the program."""

    # In the order of the program's imports.
    modules: list[str]
    # The top-level names of the program's own modules: a worker finds these before installed ones.
    own: list[str]
    # The program's environment variables and its time zone, as they travel in the record of a process.
    variables: dict[str, str]
    zone: str | None
    arguments: list[str]
    # The state of `install()`.
    names: dict[str, Any]

    def rules(self) -> bytes | None:
        """The rules of the time zone."""
        return None if self.zone is None else base64.b85decode(self.zone)


# The modules to preload, once they are known: those that were imported when the first process was started.
_modules: list[str] | None = None
# The descriptions of this session, each with its name.
_session = ""
_stored: list[tuple[Preload, str]] = []
# In a worker: its own name, and the parts that a process of it must have in common with it.
_inherited: tuple[str, Any] | None = None


def name(described: dict[str, Any]) -> str:
    """The name for a process with this environment, whose description is stored. '' if there is nothing to preload.

    A process that a worker starts has the name of the worker, if it has the same variables.
    """
    global _modules, _session  # noqa: PLW0603 - one per process
    if _inherited is not None:
        return _inherited[0] if _inherited[1] == _common(described["environment"], sys.argv, installed.state()) else ""
    if _modules is None:
        _modules = local_preload.chosen()[0]
    if not _modules:
        return ""
    zone = described["zone"] and base64.b85encode(described["zone"]).decode()
    wanted = Preload(_modules, sorted(bundle.names()), described["environment"], zone, list(sys.argv), installed.state())
    here = session.info()
    if _session != here.session:
        _session = here.session
        _stored.clear()
    known = next((name for one, name in _stored if one == wanted), None)
    if known is None and len(_stored) < _MOST:
        text = json.dumps(wanted, sort_keys=True).encode()
        known = f"preload{_digest(text)}-{here.process}" if len(text) <= _CAP else ""
        if known:
            _core.put_blob(known, zlib.compress(text))
        _stored.append((wanted, known))
    return known or ""


def inherit(preparation: dict[str, Any]) -> None:
    """In a worker, once it has entered its environment: its own processes get its name."""
    global _inherited  # noqa: PLW0603 - one per process
    parts = environment.travelling(), preparation["sys_argv"], preparation["serverless_mp"]
    _inherited = preparation["remote"]["preload"], _common(*parts)


def _common(variables: dict[str, str], arguments: list[str], names: dict[str, Any]) -> tuple[Any, ...]:
    return variables, list(arguments), names


def state(name: str) -> str:
    """The part of a name that is the same in each run."""
    return name.partition("-")[0]


def fetch(name: str) -> Preload:
    """In a supervisor: the description of this name. Raises OSError if it is gone, ValueError if it does not fit the name."""
    text = zlib.decompress(_core.get_blob(name))
    if state(name) != f"preload{_digest(text)}":
        message = f"the description is not that of {name}"
        raise ValueError(message)
    return Preload(*json.loads(text))


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:32]

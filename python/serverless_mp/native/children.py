"""Makes the interpreters that multiprocessing starts (spawn, the fork server, the resource tracker) use the replacements."""

from __future__ import annotations

from multiprocessing import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import serverless_mp
from serverless_mp import installed
from serverless_mp.program import import_hooks

from . import files

if TYPE_CHECKING:
    from types import ModuleType

_PACKAGES = str(Path(serverless_mp.__file__).parents[1])
_LOKY = ("loky", "joblib.externals.loky")


def install() -> None:
    """Changes how CPython and loky start interpreters."""
    _wrap(util, "spawnv_passfds", 1)
    for package in _LOKY:
        import_hooks.when_imported(f"{package}.backend.fork_exec", _patch_loky)


def _patch_loky(module: ModuleType) -> None:
    _wrap(module, "fork_exec", 0)


def _wrap(owner: Any, name: str, place: int) -> None:
    """Wraps a function to change the command that is its argument number `place`."""
    start = getattr(owner, name)

    def start_with_leaves(*arguments: Any, **more: Any) -> Any:
        before, after = arguments[:place], arguments[place + 1 :]
        return start(*before, with_leaves(arguments[place]), *after, **more)

    installed.replace(owner, name, start_with_leaves)


def with_leaves(command: list[Any]) -> list[Any]:
    """The command of an interpreter with our start code in front of its program. A command without -c or -m stays as it is."""
    for at, option in enumerate(command):
        if option in ("-c", b"-c"):
            code = command[at + 1]
            return [*command[: at + 1], _begin() + (code.decode() if isinstance(code, bytes) else code), *command[at + 2 :]]
        if option == "-m":
            code = f"import runpy; runpy.run_module({command[at + 1]!r}, run_name='__main__', alter_sys=True)"
            return [*command[:at], "-c", _begin() + code, *command[at + 2 :]]
    return command


def _begin() -> str:
    """The start code. It extends the search path, in which a new interpreter may not have our package."""
    return (
        f"import sys; sys.path.insert(0, {_PACKAGES!r}); from serverless_mp import native; "
        f"native.install({files.directory()!r}); sys.path.remove({_PACKAGES!r}); "
    )

"""The program's side of the preloaded zygote: the packages that its workers need not import again."""

from __future__ import annotations

import os
import sys
from multiprocessing import forkserver
from typing import Any, NamedTuple

from serverless_mp import config, installed
from serverless_mp.program import modules
from serverless_mp.program.introspect import spec_of


class Preload(NamedTuple):
    """The modules that a preloaded zygote imports once for its workers, and the settings for that."""

    # In the order of the program's imports.
    modules: list[str]
    # All modules of the program that have a file, by name.
    files: dict[str, str]
    # The directories of the search path that belong to the installation, in the program's order.
    path: list[str]
    arguments: list[str]
    # The state of `install()`, so that the zygote sees the same names as the program.
    names: dict[str, Any]


def wanted() -> Preload | None:
    """The modules to preload on this machine, or None."""
    known, files = chosen()
    path = [entry for entry in sys.path if os.path.isabs(entry) and modules.is_installed(os.path.join(entry, "module.py"))]
    return Preload(known, files, path, list(sys.argv), installed.state()) if known else None


def chosen() -> tuple[list[str], dict[str, str]]:
    """The modules of the chosen packages that the program has imported from its installation, in import order; and the files
    of all modules that have one.
    """
    names = {*config.preload(), *forkserver._forkserver._preload_modules}  # type: ignore[attr-defined]
    loaded = list(sys.modules.items())
    files = {name: file for name, module in loaded if (file := _file(name, module))}
    places = {name: os.path.dirname(files[name]) + os.sep for name in names & files.keys() if modules.is_installed(files[name])}
    return [name for name, file in files.items() if file.startswith(places.get(name.partition(".")[0], "\0"))], files


def _file(name: str, module: Any) -> str:
    """The file of a module that can be imported by its name, else ''."""
    spec = spec_of(module)
    file = getattr(spec, "origin", None)
    return file if getattr(spec, "name", None) == name and isinstance(file, str) and os.path.isabs(file) else ""

"""The program's side of the preloaded zygote: the packages that its workers need not import again."""

from __future__ import annotations

import os
import sys
import types
from multiprocessing import forkserver
from typing import Any, NamedTuple

from serverless_mp import config, installed
from serverless_mp.program import modules, tools
from serverless_mp.program.introspect import attributes, is_a, module_of, spec_of


class Preload(NamedTuple):
    """The modules that a preloaded zygote imports once for its workers, and the settings for that."""

    # In the order of the program's imports.
    modules: list[str]
    # For processes that fork: the modules of the other packages that the program's own modules name. Their state is shared, as
    # CPython's children share what their program has imported: such a module may draw random numbers, and may fail here.
    others: list[str]
    # All modules of the program that have a file, by name.
    files: dict[str, str]
    # The directories of the search path that belong to the installation, in the program's order.
    path: list[str]
    arguments: list[str]
    # The state of `install()`, so that the zygote sees the same names as the program.
    names: dict[str, Any]


# As many other modules are worth a zygote of their own.
_MANY = 50


def wanted() -> Preload | None:
    """The modules to preload on this machine, or None."""
    known, files = chosen()
    return _preload(known, [], files) if known else None


def wanted_by_forks() -> Preload | None:
    """The same for processes that fork; None if there is nothing to preload for them that others do not preload, too."""
    if os.environ.get(config.preload.name):  # the user has chosen
        return None
    known, files = chosen()
    packages = _named() - {name.partition(".")[0] for name in known}
    others = [name for name in files if name.partition(".")[0] in packages and modules.is_installed(files[name])]
    return _preload(known, others, files) if len(others) >= _MANY else None


def _named() -> set[str]:
    """The packages that globals of the program's own modules are, or come from: a worker that forks imports these. Without this
    package, the standard library, and the tools that look at the program alone.
    """
    own = [module for name, module in list(sys.modules.items()) if name == "__main__" or modules.is_own(module)]
    values = [value for module in own for value in list(attributes(module).values())]
    # Read without code of the program, such as that of a module which is loaded late.
    names: list[Any] = [attributes(one).get("__name__") if is_a(one, types.ModuleType) else module_of(one) for one in values]
    packages = {name.partition(".")[0] for name in names if is_a(name, str)}
    return packages - sys.stdlib_module_names - tools.NAMES - {"serverless_mp"}


def _preload(known: list[str], others: list[str], files: dict[str, str]) -> Preload:
    path = [entry for entry in sys.path if os.path.isabs(entry) and modules.is_installed(os.path.join(entry, "module.py"))]
    return Preload(known, others, files, path, list(sys.argv), installed.state())


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

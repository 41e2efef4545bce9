"""Decides which modules are the program's own: those that no installation has put on this machine.

A file is installed if its path or its real path lies in an installation: tools (uv, Nix, Debian's packages in a virtual
environment) put links into installations, and links from there to elsewhere. All other files are the program's own, including
members of zip archives, and so are packages that were installed from a local directory or are named by
`SERVERLESS_MP_OWN_PACKAGES`.
"""

from __future__ import annotations

import functools
import io
import os
import site
import sys
import sysconfig
import types
from functools import partial  # by its name: a program may put a mock in its place
from importlib.machinery import ExtensionFileLoader
from importlib.util import _LazyModule  # type: ignore[attr-defined]
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serverless_mp import config

from .introspect import attributes, module_of_class

if TYPE_CHECKING:
    from collections.abc import Iterable

_PACKAGE = str(Path(__file__).parent.parent)
# The directory in which this package is installed together with others, such as the layer of a function.
_OURS = (os.path.dirname(_PACKAGE),) if any(Path(_PACKAGE).parent.glob("serverless_mp-*.dist-info")) else ()
_INSTALLATIONS = frozenset({"site-packages", "dist-packages"})
# The names of the main module: the second one too, in a process that was started by spawn.
OF_MAIN = ("__main__", "__mp_main__")
# The loaders of extension modules. The loader of builtin modules is itself a class.
_OF_C = (ExtensionFileLoader, type)


def own_modules() -> dict[str, Any]:
    """The program's own modules except `__main__`, by name, in the order of their imports.

    An entry of `sys.modules` may be any object. Modules that were not used yet, and are loaded then, are left out.
    """
    further = further_names()
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name not in OF_MAIN and name not in further and not is_late(module) and is_own(module)
    }


def further_names() -> dict[str, str]:
    """Additional names in `sys.modules` of modules that are also there under their own name, each with that name."""
    found = [(name, _own_name(module)) for name, module in list(sys.modules.items())]
    return {name: own for name, own in found if own not in {name, *OF_MAIN} and sys.modules.get(own) is sys.modules[name]}


def _own_name(module: Any) -> str:
    is_module = issubclass(type(module), types.ModuleType)
    return str(attributes(module).get("__name__")) if is_module else ""


def is_late(module: Any) -> bool:
    """Whether a module is loaded when it is first used, and was not used yet."""
    return type(module) is _LazyModule


def is_being_imported(module: Any) -> bool:
    """Whether the import of a module has not ended yet."""
    if not issubclass(type(module), types.ModuleType):
        return False
    return bool(getattr(attributes(module).get("__spec__"), "_initializing", False))


def note_imports_that_start_processes() -> None:
    """Called when a process is started: a worker that imported these modules would start the process once more."""
    if any(map(is_being_imported, list(sys.modules.values()))):
        _starting.update(name for name, module in own_modules().items() if is_being_imported(module))


def starts_processes(name: str) -> bool:
    """Whether the import of a module has started processes."""
    return name in _starting


_starting: set[str] = set()


def is_own(module: Any) -> bool:
    """Whether a module is the program's own."""
    if not issubclass(type(module), types.ModuleType):
        return _is_own_object(module)
    space = attributes(module)
    file, spec = space.get("__file__"), space.get("__spec__")
    if isinstance(file, str):
        return not is_installed(file)
    if spec is not None:  # builtin, frozen, or a namespace package
        places = [place for place in space.get("__path__", ()) if isinstance(place, str)]
        return bool(places) and not all(map(is_installed, places))
    # Created by code of the program or of a library, as C extensions do for shared names.
    return type(module) is types.ModuleType and space.get("__loader__") is None and _is_made_by_program(space)


def is_of_program(value: Any) -> bool:
    """Whether a function, a class or an object belongs to the program's code, or is a mock that the program has created."""
    kind = type(value)
    if issubclass(kind, types.MethodType):
        return is_of_program(value.__self__)
    if issubclass(kind, partial):
        return is_of_program(value.func)
    if issubclass(kind, (classmethod, staticmethod, property)):
        return is_of_program(value.fget if issubclass(kind, property) else value.__func__)
    if issubclass(kind, types.FunctionType):
        return not is_installed(value.__code__.co_filename)
    home = module_of_class(value if issubclass(kind, type) else kind)
    return home in (*OF_MAIN, "unittest.mock") or (home in sys.modules and is_own(sys.modules[home]))


def _is_own_object(thing: Any) -> bool:
    return any(not is_installed(file) for file in _files_of_code(vars(type(thing)).values()))


def _is_made_by_program(space: dict[str, Any]) -> bool:
    above = sys.modules.get(str(space.get("__name__")).rpartition(".")[0])
    if getattr(getattr(above, "__spec__", None), "loader", None).__class__ in _OF_C:  # as pyexpat makes pyexpat.errors
        return False
    values = [value for name, value in space.items() if not (name.startswith("__") and name.endswith("__"))]
    kinds = [value for value in values if issubclass(type(value), type)]
    parts = [part for kind in kinds for part in vars(kind).values()]
    files = _files_of_code([*values, *parts])
    if files:
        return any(not is_installed(file) for file in files)
    return not kinds and not any(issubclass(type(value), types.BuiltinFunctionType) for value in values)


def _files_of_code(values: Iterable[Any]) -> list[str]:
    return [value.__code__.co_filename for value in values if issubclass(type(value), types.FunctionType)]


@functools.cache
def is_installed(file: str) -> bool:
    """Whether a file is part of an installation."""
    if file.startswith("<"):  # frozen modules of the standard library, or code without a file
        return file.startswith("<frozen ")
    paths = {os.path.abspath(file), os.path.realpath(file)}
    own = _own_places()
    if any(path.startswith(own) for path in paths) and not any(path.startswith(_PACKAGE + os.sep) for path in paths):
        return False
    return any(path.startswith(installed_places()) or not _INSTALLATIONS.isdisjoint(path.split(os.sep)) for path in paths)


@functools.cache
def installed_places() -> tuple[str, ...]:
    """The directories of this interpreter and its packages."""
    places = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
    places |= {*site.getsitepackages(), site.getusersitepackages(), _PACKAGE, *_OURS}
    places |= {os.path.realpath(place) for place in places if place}
    return tuple(place + os.sep for place in places if place)


@functools.cache
def _own_places() -> tuple[str, ...]:
    """The paths of the program's own packages and modules inside the directories of an installation."""
    found = []
    for folder in {*sys.path}:
        if (os.path.basename(folder) in _INSTALLATIONS or folder in _OURS) and os.path.isdir(folder):
            names = {name for record in Path(folder).glob("*.dist-info/direct_url.json") for name in _local_names(record)}
            names |= {name for name in config.own_packages() if name}
            found += [os.path.join(folder, name) for name in names]
    return tuple(form for path in found for form in ((path + os.sep,) if not path.endswith(".py") else (path,))) + tuple(
        f"{path}.py" for path in found if not path.endswith(".py")
    )


# Taken now: the program may have replaced it by the time of a call.
_open = io.open


def _read(path: Path) -> str:
    with _open(path, encoding="utf-8") as f:
        return f.read()


def _local_names(record: Path) -> set[str]:
    """The packages and modules of a distribution that was installed from a local directory."""
    try:
        if '"dir_info"' not in _read(record):
            return set()
        lines = _read(record.with_name("RECORD")).splitlines()
    except (OSError, ValueError):  # no file, or not a text file
        return set()
    tops = {line.partition(",")[0].split("/")[0] for line in lines}
    return {
        top for top in tops if top and not top.startswith((".", "__pycache__")) and not top.endswith((".dist-info", ".pth"))
    }

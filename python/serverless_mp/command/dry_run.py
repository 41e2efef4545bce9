"""`serverless-mp run --dry-run`: lists the files of a program's directory that would be transferred to a function."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from serverless_mp.program import bundle, files, modules


def show(form: str | None, program: str) -> int:
    """Prints one path a line, and why others are left out. Returns 1 if there is no such program."""
    if form == "code" or program == "-":
        sys.stdout.write("the program is a text: no file travels but the modules that it imports\n")
        return 0
    found = _module(program) if form == "module" else _script(program)
    if found is None:
        sys.stderr.write(f"serverless-mp: there is no {'module' if form == 'module' else 'file'} {program}\n")
        return 1
    root, names = found
    travels = files.of_directory(root, names)
    for path in travels.paths:
        _line(path)
    for path, reason in travels.left_out:
        _line(f"left out: {path} ({reason})")
    size = sum(os.path.getsize(path) for path in travels.paths)
    _line(f"{len(travels.paths)} files, {size / 1e6:.1f} of at most {bundle.CAP >> 20} MB, and modules from elsewhere")
    return 0


def _script(path: str) -> tuple[str, frozenset[str] | None] | None:
    if not os.path.exists(path):
        return None
    return (os.path.realpath(path), None) if os.path.isdir(path) else bundle.place_of_script(path)


def _module(name: str) -> tuple[str, frozenset[str] | None] | None:
    sys.path[0] = os.getcwd()
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return None
    file = os.path.realpath(spec.origin)
    if modules.is_installed(file):
        return str(Path(file).parent), frozenset()
    return bundle.place_of(file, name, is_package=spec.submodule_search_locations is not None)


def _line(text: str) -> None:
    sys.stdout.write(text.encode(errors="backslashreplace").decode() + "\n")

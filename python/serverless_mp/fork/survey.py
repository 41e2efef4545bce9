"""The state of a program at this moment: its modules, the places in them, and the differences in installed modules."""

from __future__ import annotations

import abc
import contextlib
import functools
import io
import os
import sys
import threading
import types
from functools import partial  # by its name: a program may put a mock in its place
from typing import TYPE_CHECKING, Any

from serverless_mp.program import BEGUN, modules, tools
from serverless_mp.program.introspect import attributes, is_a

from . import classes, comparison, library_records, names_in_code, objects, places
from .caches import Cached
from .pickler import OBJECT, TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The worker has its own values of these.
NOT_CONTENT = {"__builtins__", "__spec__", "__loader__", "__cached__", "__warningregistry__"}
_FUNCTIONS = (types.FunctionType, Cached)
_INSIDE = ((places.CELL,), (places.ATTRIBUTES,), (places.BASE,))


class _Libraries:
    """The differences between installed modules and what their import creates."""

    def __init__(self) -> None:
        self.installed: list[tuple[str, places.Path, Any]] = []
        self.removed: list[tuple[str, places.Path]] = []
        self.owned: dict[int, Any] = library_records.of_others()
        held: set[int] = set()
        for name, record in library_records.records(comparison.list_modules()).items():
            self.owned.update(record.owned)
            for path, value in record.different(held).items():
                self.installed.append((name, path, value))
                if is_a(value, _FUNCTIONS):
                    self.owned.setdefault(~id(value), (name, path))
            self.removed += [(name, tuple(path.split("."))) for path in record.removed]


class _Kept(threading.local):
    """For each thread: what the first of several starts in a row has found, by the function that finds it; else None."""

    found: dict[Callable[..., Any], Any] | None = None


_kept = _Kept()


def _once_in_a_row(find: Callable[..., Any], *arguments: Any) -> Any:
    """What a function finds, or what it has found for a start before this one."""
    if _kept.found is None:
        return find(*arguments)
    if find not in _kept.found:
        _kept.found[find] = find(*arguments)
    return _kept.found[find]


@contextlib.contextmanager
def starts_in_a_row() -> Iterator[None]:
    """For several starts between which no code of the program runs: only the first examines all modules."""
    _kept.found = {}
    try:
        yield
    finally:
        _kept.found = None


class Program:
    """The modules of the program at this moment, and the places in them."""

    def __init__(self) -> None:
        own = modules.own_modules()
        self.main = sys.modules["__main__"]
        self.made = {name: module for name, module in own.items() if _must_be_made(name, module)}
        self.imported = {name: module for name, module in own.items() if name not in self.made}
        self.by_value = frozenset([*modules.OF_MAIN, *self.made])
        libraries: _Libraries = _once_in_a_row(_Libraries)
        self.installed, self.removed = libraries.installed, libraries.removed
        # Persistent ids, by id. An object that a library owns stays its own, even where a module of the program refers to it.
        self.owned = {**libraries.owned}
        # The names in each imported module and its classes, with the shape of what the import created; and its places.
        self.names: list[tuple[str, places.Path, dict[str, Any]]] = []
        self.places: list[tuple[str, places.Path, Any]] = []
        for name, module in self.imported.items():
            self._look_at(name, module)
        self.wanted = _wanted(self.main)
        self.used = _used([self.main, *own.values()])

    def disown(self, keys: set[int]) -> None:
        """Makes objects of installed modules, by their ids, the program's own. Their places stay as at import, and they travel
        with what refers to them, without the parts that cannot be pickled.
        """
        for key in keys:
            del self.owned[key]

    def values(self) -> list[Any]:
        """All values that may be written."""
        made = [value for module in self.made.values() for value in vars(module).values()]
        return [*self.wanted.values(), *made, *(value for _, _, value in [*self.places, *self.installed])]

    def _look_at(self, name: str, module: Any) -> None:
        if not is_a(module, types.ModuleType):
            self._own(name, (), module)
            self.places.append((name, (), module))
            return
        is_made_by = partial(_is_made_by, getattr(module, "__file__", None))
        travelling = set()
        for path, value in places.places_of(module, is_made_by=is_made_by):
            self._own(name, path, value)
            if path[-2:-1] in _INSIDE and is_a(value, (types.FunctionType, type)):
                continue  # it comes with its owner
            self.places.append((name, path, value))
            travelling.add(path)
        for above, space in places.spaces_of(module):
            shapes = {key: None if (*above, key) in travelling else places.shape(part) for key, part in list(space.items())}
            self.names.append((name, above, {key: shapes[key] for key in shapes.keys() - places._OF_IMPORT}))
            if sys.modules.get(vars(module).get("__name__", "")) is not module:
                # Its definitions are not found under the module's name.
                defined = {key: part for key, part in list(space.items()) if is_a(part, (type, types.FunctionType))}
                for key, part in defined.items():
                    path = (*above, key)
                    if path not in travelling and places.home(part) == (module.__name__, ".".join(path)):
                        self.owned.setdefault(id(part), (TYPE, name, path))

    def _own(self, module: str, path: places.Path, value: Any) -> None:
        kind = type(value)
        if path and path[-1] == places.ATTRIBUTES:
            return  # a part of what the object holds
        for step, part in places.parts_of(value):
            if part is not None:
                self.owned.setdefault(~id(part), (module, (*path, step)))
        if is_a(value, _FUNCTIONS):
            self.owned.setdefault(~id(value), (module, path))
        elif path[-2:-1] == (places.BASE,):
            self.owned.setdefault(id(value), (TYPE, module, path))
        elif objects.is_refilled(value):
            if "<locals>" in kind.__qualname__:
                self.owned.setdefault(id(kind), (TYPE, module, (*path, places.TYPE)))
            self.owned.setdefault(id(value), (OBJECT, module, path, kind))


def _must_be_made(name: str, module: Any) -> bool:
    """Whether a worker cannot import the module, or must not."""
    if not is_a(module, types.ModuleType):
        return False
    file = getattr(module, "__file__", None)
    # A module without a specification was made by code, such as `runpy.run_path`.
    if modules.is_being_imported(module) or modules.starts_processes(name) or vars(module).get("__spec__") is None:
        return True
    if file is None:
        return "__path__" not in vars(module)
    return not _exists(file) or _has_changed(module)


def _has_changed(module: Any) -> bool:
    """Whether the source has changed since it was imported: its byte code records the size and time of the source.

    Without byte code, a file that was written after the program began counts as changed.
    """
    cached, file = str(getattr(module, "__cached__", "")), str(module.__file__)
    try:
        now = os.stat(file)
    except (OSError, ValueError):  # in an archive
        return False
    try:
        with io.open(cached, "rb") as f:  # noqa: UP020 - the program may have replaced `open`
            head = f.read(16)
    except (OSError, TypeError, ValueError):
        return now.st_mtime > BEGUN
    flags, time, size = (int.from_bytes(head[place : place + 4], "little") for place in (4, 8, 12))
    return flags == 0 and (time != int(now.st_mtime) & 0xFFFFFFFF or size != now.st_size & 0xFFFFFFFF)


def _exists(file: str) -> bool:
    """Whether a path is a file, or a member of an archive."""
    while file and not os.path.exists(file):
        file, _, member = file.rpartition(os.sep)
        if not member or os.path.isdir(file):
            return False
    return bool(file)


def _is_made_by(file: str | None, function: types.FunctionType) -> bool:
    """Whether a statement of the module's file defines this function, and no decorator has put another one in its place."""
    code = function.__code__
    return code.co_qualname == function.__qualname__ and (file is None or _same_file(code.co_filename, file))


@functools.cache
def _same_file(one: str, other: str) -> bool:
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def _wanted(main: Any) -> dict[str, Any]:
    space = list(vars(main).items())
    return {name: value for name, value in space if name not in NOT_CONTENT and not tools.is_of_tool(value)}


def _used(own: list[Any]) -> names_in_code.Names:
    """The names that functions of the program use, and those used by the statements of classes that are defined again."""
    found = [names_in_code.named(vars(module)) for module in own if is_a(module, types.ModuleType)]
    space = vars(sys.modules["__main__"])
    statements = [classes.statement(value) for value in list(space.values()) if is_a(value, type)]
    found += [names_in_code.names(code) for code in statements if code is not None]
    return names_in_code.Names(
        frozenset[str]().union(*(m.globals for m in found)),
        frozenset[str]().union(*(m.globals | m.all for m in found)),
    )


def registered(program: Program) -> list[tuple[type, list[type]]]:
    """Classes that the program has registered with abstract base classes, its own or others."""
    found: list[tuple[type, list[type]]] = _once_in_a_row(_registered, program)
    return found


def _registered(program: Program) -> list[tuple[type, list[type]]]:
    own = {*program.imported, *program.made, *modules.OF_MAIN}
    found = []
    for module in [one for one in list(sys.modules.values()) if is_a(one, types.ModuleType)]:
        space = attributes(module)
        classes_here = [value for value in list(space.values()) if issubclass(type(value), abc.ABCMeta)]
        for value in classes_here:
            if value.__module__ == space.get("__name__") and value.__module__ not in modules.OF_MAIN:
                others = [one for reference in abc._get_dump(value)[0] if (one := reference()) is not None]  # type: ignore[attr-defined]
                mine = [one for one in others if one.__module__ in own or value.__module__ in own]
                if mine:
                    found.append((value, mine))
    return found

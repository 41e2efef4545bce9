"""Records of the values at the places of installed modules. Only places that may have changed are read again."""

from __future__ import annotations

import contextlib
import enum
import sys
import types
from ctypes import CDLL, LibraryLoader  # imported by name: a program may put mocks in their places
from typing import Any

from serverless_mp.program import modules
from serverless_mp.program.introspect import is_a

from . import baseline, collector, comparison, objects, place_access, places
from .digest import Digest, Digests, same
from .pickler import OBJECT, TYPE, found_by_name

# Stands between the values of two owners.
_NEXT = object()


class _Seen:
    """The values that a module, its classes and its functions had when the record was made."""

    def __init__(self, name: str, module: Any) -> None:
        values = list(vars(module).values())
        self._classes = [value for value in values if is_a(value, type) and value.__module__ == name]
        values += [value for cls in self._classes for value in list(vars(cls).values())]
        self._functions = [one for value in values for _, one in places.functions_within(name, (), value)]
        self._values = self._read(module)

    def _read(self, module: Any) -> list[Any]:
        values = [*vars(module).values()]
        for cls in self._classes:
            values += (_NEXT, *vars(cls).values())
        for function in self._functions:
            values += (_NEXT, *places.kept_by(function))
        return values

    def is_as_it_was(self, module: Any) -> bool:
        """Whether the values are unchanged, apart from the content of containers."""
        return same(self._values, self._read(module))


class _Record(_Seen):
    """An installed module as it was at the last comparison."""

    def __init__(self, name: str, module: Any, base: dict[str, bytes], digests: Digests) -> None:
        super().__init__(name, module)
        # The places, divided by whether anything inside their values can change.
        self._fixed: dict[places.Path, tuple[Any, bytes]] = {}
        # The latter with whether they differ from the baseline.
        self._changing: dict[places.Path, tuple[Any, Digest, bool]] = {}
        # Persistent ids, by id, of objects that other modules may refer to.
        self.owned: dict[int, Any] = {}
        here = set()
        for path, value in places.places_of(module):
            dotted = ".".join(path)
            here.add(dotted)
            if not comparison.is_compared(name, dotted, value) and (
                dotted not in base or comparison.is_left_out(name, dotted, value)
            ):
                continue
            made = digests.of(value)
            if made.is_fixed():
                self._fixed[path] = (value, made.value)
            else:
                self._changing[path] = (value, made, False)
            if type(value) not in _NOT_REFILLED:
                self._own(name, path, value, is_as_imported=base.get(dotted) == made.value)
        self.removed = [path for path in base if path not in here and _has_owner(name, path, base)]
        self.compare_with(base)

    def _own(self, name: str, path: places.Path, value: Any, *, is_as_imported: bool) -> None:
        kind = type(value)
        if objects.is_refilled(value):
            self.owned.setdefault(id(value), (OBJECT, name, path, kind))
            if found_by_name(*places.home(kind)) is None:  # where a mock stands, its name leads to the class of all mocks
                self.owned.setdefault(id(kind), (TYPE, name, (*path, places.TYPE)))
        elif issubclass(kind, type) and is_as_imported and found_by_name(*places.home(value)) is not value:
            self.owned.setdefault(id(value), (TYPE, name, path))

    def compare_with(self, base: dict[str, bytes]) -> None:
        """Replaces the baseline by another one with the same places."""
        self._base = base
        self._differing = {path: value for path, (value, made) in self._fixed.items() if self._differs(path, made)}
        for path, (value, digest, _) in self._changing.items():
            self._changing[path] = (value, digest, self._differs(path, digest.value))

    def has_places_of(self, base: dict[str, bytes]) -> bool:
        """Whether another baseline has the same places as the current one."""
        return self._base.keys() == base.keys()

    def different(self, held: set[int]) -> dict[places.Path, Any]:
        """The places whose values differ from those of a worker, with the values here. `held` as in `Digest.still_holds`."""
        found = dict(self._differing)
        for path, (value, made, differed) in self._changing.items():
            differs = differed
            if not made.still_holds(held):
                now = Digest(value)
                differs = self._differs(path, now.value)
                self._changing[path] = (value, now, differs)
            if differs:
                found[path] = value
        return found

    def _differs(self, path: places.Path, made: bytes) -> bool:
        return self._base.get(".".join(path), b"") not in (baseline.VOLATILE, made)


def _has_owner(module: str, dotted: str, base: dict[str, bytes]) -> bool:
    """Whether the owner of a place (module, class or function) is still where it was created."""
    steps = tuple(dotted.split("."))
    above = steps[:-1]
    inside = next((number for number, step in enumerate(steps) if step.startswith("<")), None)
    with contextlib.suppress(LookupError, AttributeError, ValueError, TypeError):
        if inside is not None:
            # A cell that is empty now is not removed; nothing in another function is compared.
            function = steps[:inside]
            found = place_access.find(module, function)
            return above[-1] != places.CELL and Digest(found).value == base.get(".".join(function))
        owner = place_access.find(module, above) if above else None
        return not above or (is_a(owner, type) and places.home(owner) == (module, ".".join(above)))
    return False


# The types of most values, none of which is refilled or is a class.
_NOT_REFILLED = comparison.ATOMS | {types.FunctionType, types.BuiltinFunctionType, types.ModuleType}
# Types of objects that are not found at a place, or that carry settings of the program.
_NO_OBJECTS = (type, types.FunctionType, types.ModuleType, enum.Enum, CDLL, LibraryLoader)


# Values that are compared by identity, although their classes do not tell that: their modules and their names there.
_SENTINELS = frozenset(
    {
        *(("argparse", "SUPPRESS"), ("optparse", "NO_DEFAULT"), ("math", "nan"), ("cmath", "nan"), ("numpy", "nan")),
        ("numpy.ma.core", "masked"),
    }
)
# These values and others that stand only for themselves, each with its persistent id; and the modules that were looked through.
_lone: list[tuple[Any, Any]] = []
_looked_through: set[str] = set()


def of_others() -> dict[int, Any]:
    """Persistent ids, by id, of the own objects of modules that are not compared, and of objects of installed modules that
    stand only for themselves. Each process has its own such objects.
    """
    found = {
        id(value): (OBJECT, name, (attribute,), type(value))
        for name, module in list(sys.modules.items())
        if type(module) is types.ModuleType and not comparison.counts(name) and name not in modules.OF_MAIN
        for attribute, value in list(vars(module).items())
        if str(type(value).__module__).partition(".")[0] == name.partition(".")[0] and not is_a(value, _NO_OBJECTS)
    }
    for name, module in list(sys.modules.items()):
        if name not in _looked_through and type(module) is types.ModuleType and not modules.is_being_imported(module):
            _looked_through.add(name)
            _look_through(name, module)
    return found | {id(value): persistent_id for value, persistent_id in _lone}


def _look_through(name: str, module: types.ModuleType) -> None:
    values = list(vars(module).items())
    found = [(attribute, value) for attribute, value in values if type(value) is object or (name, attribute) in _SENTINELS]
    if found and name not in modules.OF_MAIN and not modules.is_own(module):
        _lone.extend((value, (OBJECT, name, (attribute,), type(value))) for attribute, value in found)


_records: dict[str, _Record] = {}
_base: baseline.Baseline | None = None
_asked: set[str] = set()


def records(names: list[str]) -> dict[str, _Record]:
    """The current record of each of these modules that has a baseline."""
    base = _known_baseline(names)
    made = Digests()
    with collector.paused():
        for name in names:
            module = sys.modules[name]
            record = _records.get(name)
            if name in base and (record is None or not record.is_as_it_was(module)):
                with contextlib.suppress(RuntimeError):  # another thread is changing the module: tried again at the next start
                    _records[name] = _Record(name, module, base[name], made)
    return {name: _records[name] for name in names if name in _records}


def _known_baseline(names: list[str]) -> baseline.Baseline:
    global _base  # noqa: PLW0603 - one per process
    new = [name for name in names if name not in _asked]
    if new:
        _asked.update(names)
        # Modules known before are included: later imports may have changed them, in a fresh process as well as here.
        _base = baseline.load(names)
        for name, record in list(_records.items()):
            known = _base.get(name)
            if known is not None and record.has_places_of(known):
                record.compare_with(known)
            else:
                del _records[name]
    return _base or {}

"""The names of globals in code: which parts of a module its functions read, as far as their code shows."""

from __future__ import annotations

import dis
import functools
import sys
import types
from functools import partial  # by its name: a program may put a mock in its place
from typing import TYPE_CHECKING, Any, NamedTuple

from serverless_mp.program.introspect import attributes, contents, is_a

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The attributes in which a wrapper holds the wrapped object.
_INSIDE: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel"),
    classmethod: ("__func__",),
    staticmethod: ("__func__",),
    types.MethodType: ("__func__",),
    partial: ("func",),
    functools.partialmethod: ("func",),
    functools.cached_property: ("func",),
    functools.singledispatchmethod: ("func", "dispatcher"),
}
# Code that uses one of these may use any global.
_ANY = frozenset({"globals", "eval", "exec"})


class Names(NamedTuple):
    """The globals that code uses, and all names in it, attributes included."""

    globals: frozenset[str]
    all: frozenset[str]


@functools.cache
def names(code: types.CodeType) -> Names:
    """The names in a code object, nested functions included."""
    inner = [names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return Names(
        own_globals(code).union(*(found.globals for found in inner)),
        frozenset(code.co_names).union(*(found.all for found in inner)),
    )


def own_globals(code: types.CodeType) -> frozenset[str]:
    """The globals that a code object uses itself, nested functions excluded."""
    return frozenset(
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname.endswith(("_GLOBAL", "_NAME")) and instruction.opname != "IMPORT_NAME"
    )


def looked_up(code: types.CodeType) -> frozenset[str]:
    """The names that a code object reads itself; one that it only sets, such as an attribute of a class, is none of them."""
    return frozenset(
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith("LOAD_") and instruction.opname.endswith(("_GLOBAL", "_GLOBALS", "_NAME"))
    )


def named(space: dict[str, Any]) -> Names:
    """The names that the functions of a module use."""
    seen: set[int] = set()
    found = [names(one.__code__) for value in list(space.values()) for one in functions_in(value, space, seen)]
    used = Names(
        frozenset[str]().union(*(each.globals for each in found)), frozenset[str]().union(*(each.all for each in found))
    )
    return used._replace(globals=frozenset(space)) if used.globals & _ANY else used


def functions_in(value: Any, space: dict[str, Any] | None = None, seen: set[int] | None = None) -> Iterator[types.FunctionType]:
    """A function, decorated or not, and the functions of a class. `space`: only functions with these globals."""
    seen = set() if seen is None else seen
    if id(value) in seen or is_a(value, types.ModuleType):
        return
    seen.add(id(value))
    parts: list[Any] = []
    if is_a(value, type):
        if space is not None and value.__module__ == space.get("__name__"):
            parts += vars(value).values()
    elif is_a(value, types.FunctionType):
        if space is None or value.__globals__ is space:
            yield value
        # A decorator may keep a function only in a cell.
        parts += [*contents(value.__closure__ or ()), *vars(value).values()]
    else:
        inside = next((names for kind, names in _INSIDE.items() if is_a(value, kind)), ())
        parts += [getattr(value, name) for name in inside]
        parts += [attributes(value).get("__wrapped__")]
    for part in parts:
        if callable(part) or hasattr(type(part), "__get__"):
            yield from functions_in(part, space, seen)


def submodules(modules: Iterable[types.ModuleType], used: frozenset[str]) -> list[str]:
    """Modules of these packages that code names as attributes, such as `xml.dom` if it was imported as `xml`."""
    packages = tuple(f"{space['__name__']}." for space in map(attributes, modules) if "__path__" in space)
    return [
        name
        for name in list(sys.modules)
        if name.startswith(packages) and all(part in used for part in name.split(".")[1:]) and packages
    ]

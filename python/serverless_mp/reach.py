"""What a forked process reaches by name: the program's own modules, and the globals in them that their functions use.

A program that forks finds every module as it was at that moment. A worker imports them anew; so what code has set in them
since, or changed in place, travels as far as some function of the program names it.
"""

from __future__ import annotations

import dis
import enum
import functools
import sys
import types
from typing import TYPE_CHECKING, Any, NamedTuple

from . import bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CODE = (types.FunctionType, type, types.ModuleType)
# Where what is wrapped in something else is found.
_INSIDE: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel"),
    classmethod: ("__func__",),
    staticmethod: ("__func__",),
    types.MethodType: ("__func__",),
    functools.partial: ("func",),
    functools.partialmethod: ("func",),
    functools.cached_property: ("func",),
    functools.singledispatchmethod: ("func", "dispatcher"),
}
# Who uses these may use any global.
_ANY = frozenset({"globals", "eval", "exec"})


class Names(NamedTuple):
    """What code takes from its module's globals, and all that it names, attributes included."""

    globals: frozenset[str]
    all: frozenset[str]


@functools.cache
def names(code: types.CodeType) -> Names:
    """Of a code object, nested functions included."""
    inner = [names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return Names(
        own_globals(code).union(*(found.globals for found in inner)),
        frozenset(code.co_names).union(*(found.all for found in inner)),
    )


def own_globals(code: types.CodeType) -> frozenset[str]:
    """What it takes from its module's globals itself, nested functions excluded."""
    return frozenset(
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname.endswith(("_GLOBAL", "_NAME")) and instruction.opname != "IMPORT_NAME"
    )


def is_a(value: Any, kinds: Any) -> bool:
    """As `isinstance`, which asks an object for its class: one of the program's may have an answer of its own."""
    return issubclass(type(value), kinds)


def attributes(value: Any) -> dict[str, Any]:
    """An object's own, without asking a `__getattr__` or a property of the program's."""
    try:
        kept = object.__getattribute__(value, "__dict__")
    except Exception:  # noqa: BLE001 - it has none, or hides it
        return {}
    return kept if type(kept) is dict else {}


def named(space: dict[str, Any]) -> Names:
    """What the functions in a module's globals use."""
    seen: set[int] = set()
    found = [names(code) for value in list(space.values()) for code in _codes(value, space, seen)]
    used = Names(
        frozenset[str]().union(*(each.globals for each in found)), frozenset[str]().union(*(each.all for each in found))
    )
    return used._replace(globals=frozenset(space)) if used.globals & _ANY else used


def _codes(value: Any, space: dict[str, Any], seen: set[int]) -> Iterator[types.CodeType]:
    """The code of a function, decorated or not, and of a class' methods, as far as these are their globals."""
    if id(value) in seen or is_a(value, types.ModuleType):
        return
    seen.add(id(value))
    parts: list[Any] = []
    if is_a(value, type):
        if value.__module__ == space.get("__name__"):
            parts += vars(value).values()
    elif is_a(value, types.FunctionType):
        if value.__globals__ is space:
            yield value.__code__
        # What decorates a function may keep it in a cell only.
        parts += [*_contents(value.__closure__ or ()), *vars(value).values()]
    else:
        inside = next((names for kind, names in _INSIDE.items() if is_a(value, kind)), ())
        parts += [getattr(value, name) for name in inside]
        parts += [part for name, part in attributes(value).items() if name == "__wrapped__"]
    for part in parts:
        if callable(part) or hasattr(type(part), "__get__"):
            yield from _codes(part, space, seen)


def _contents(cells: Iterable[types.CellType]) -> Iterator[Any]:
    for cell in cells:
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


class Reached(NamedTuple):
    """Modules of the program that a process reaches, with their files, and in each what is used: `NAME` or `CLASS.NAME`."""

    modules: dict[str, str | None]
    values: dict[str, dict[str, Any]]


def reached(begin: Iterable[Any], names_of_main: frozenset[str]) -> Reached:
    """From these objects, and by what the functions of `__main__` name."""
    own = {module.__name__: module for module in bundle.own_modules() if module.__name__ not in {"__main__", "__mp_main__"}}
    found: dict[str, types.ModuleType] = {}
    used = set(names_of_main)
    # A function may import a module itself, and names it then.
    ahead = [*used, *(name for value in begin for name in _modules(value))]
    while ahead:
        name = ahead.pop()
        if name in own and name not in found:
            found[name] = own[name]
            space = vars(own[name])
            more = named(space)
            used |= more.globals | more.all
            ahead += [*more.all, *(other for value in list(space.values()) for other in _modules(value))]
    values = {name: dict(_used(module, used)) for name, module in found.items()}
    files = {name: getattr(module, "__file__", None) for name, module in found.items()}
    return Reached(files, {name: chosen for name, chosen in values.items() if chosen})


def _used(module: types.ModuleType, used: set[str]) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(module).items()):
        if is_a(value, enum.EnumMeta):
            continue  # its members are for ever
        if is_a(value, type) and value.__module__ == module.__name__:
            for attribute, part in list(vars(value).items()):
                if attribute in used and not attribute.startswith("__") and _is_data(part):
                    yield f"{name}.{attribute}", part
        elif name in used and not name.startswith("__") and (_is_data(value) or _is_patch(value)):
            yield name, value


def _is_data(value: Any) -> bool:
    return not is_a(value, _CODE) and not hasattr(type(value), "__get__")


def _is_patch(value: Any) -> bool:
    """A function that the script has put there."""
    return is_a(value, types.FunctionType) and value.__module__ == "__main__"


def submodules(modules: Iterable[types.ModuleType], used: frozenset[str]) -> list[str]:
    """Modules in these packages that code names as their attributes, such as `xml.dom` where it was imported as `xml`."""
    packages = tuple(f"{module.__name__}." for module in modules if hasattr(module, "__path__"))
    return [
        name
        for name in list(sys.modules)
        if name.startswith(packages) and all(part in used for part in name.split(".")[1:]) and packages
    ]


def _modules(value: Any) -> list[str]:
    """Where its code is: a module's own name, that of a function or class, of a method's object, of a value's class."""
    if is_a(value, types.ModuleType):
        return [value.__name__]
    if is_a(value, functools.partial):
        return [name for part in (value.func, *value.args, *value.keywords.values()) for name in _modules(part)]
    if is_a(value, types.MethodType):
        return [*_modules(value.__func__), *_modules(value.__self__)]
    if type(value) in (dict, list, tuple, set):
        parts = [*value.values()] if type(value) is dict else [*value]
        return [name for part in parts if type(part) not in (dict, list, tuple, set) for name in _modules(part)]
    owner = value if is_a(value, (types.FunctionType, type)) else type(value)
    return [str(owner.__module__)]

"""What a forked process reaches by name: the program's own modules, and the globals in them that their functions use.

A program that forks finds every module as it was at that moment. A worker imports them anew; so what code has set in them
since, or changed in place, travels as far as some function of the program names it.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any

from . import bundle

if TYPE_CHECKING:
    from collections.abc import Iterable

_CODE = (types.FunctionType, type, types.ModuleType)


def codes(value: Any, module: str, seen: frozenset[int] = frozenset()) -> list[types.CodeType]:
    """The code of a function, decorated or not, or of a class' methods, if they are of this module."""
    if getattr(value, "__module__", None) != module or id(value) in seen:
        return []
    seen |= {id(value)}
    if isinstance(value, type):
        parts = [p for part in vars(value).values() for p in (getattr(part, "__func__", part), *_accessors(part))]
    else:
        parts = [getattr(value, "__wrapped__", None)]
    code = getattr(value, "__code__", None)
    own = [code] if isinstance(code, types.CodeType) else []
    return own + [code for part in parts for code in codes(part, module, seen)]


def _accessors(part: Any) -> tuple[Any, ...]:
    return (part.fget, part.fset, part.fdel) if isinstance(part, property) else ()


@functools.cache
def names(code: types.CodeType) -> frozenset[str]:
    """What it takes from globals or attributes, nested functions included."""
    inner = [names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(code.co_names).union(*inner)


def named(space: dict[str, Any], module: str) -> set[str]:
    """The names that the functions in a module's globals use."""
    return {name for value in list(space.values()) for code in codes(value, module) for name in names(code)}


def globals_of_modules(begin: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """By module: the values that functions name, in the program's own modules that are reached from these objects."""
    own = {module.__name__: module for module in bundle.own_modules() if module.__name__ not in {"__main__", "__mp_main__"}}
    reached: dict[str, types.ModuleType] = {}
    used = named(vars(sys.modules["__main__"]), "__main__")
    # A function may import a module itself, and names it then.
    ahead = [*used, *(name for value in begin for name in _modules(value))]
    while ahead:
        name = ahead.pop()
        if name in own and name not in reached:
            reached[name] = own[name]
            space = vars(own[name])
            more = named(space, name)
            used |= more
            ahead += [*more, *(other for value in list(space.values()) for other in _modules(value))]
    found = {
        name: {
            key: value
            for key, value in list(vars(module).items())
            if key in used and not key.startswith("__") and not isinstance(value, _CODE) and type(value) is not object
        }
        for name, module in reached.items()
    }
    return {name: values for name, values in found.items() if values}


def _modules(value: Any) -> list[str]:
    """Where its code is: a module's own name, that of a function or class, of a method's object, of a value's class."""
    if isinstance(value, types.ModuleType):
        return [value.__name__]
    if isinstance(value, functools.partial):
        return [name for part in (value.func, *value.args, *value.keywords.values()) for name in _modules(part)]
    if isinstance(value, types.MethodType):
        return [*_modules(value.__func__), *_modules(value.__self__)]
    owner = value if isinstance(value, (types.FunctionType, type)) else type(value)
    return [str(owner.__module__)]

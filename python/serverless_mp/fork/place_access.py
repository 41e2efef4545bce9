"""In a worker: finds, sets and removes values at places of the worker's modules."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

from serverless_mp.program.introspect import is_a

from . import classes, places

# The values of the worker's own imports at places where the program's value was set.
_originals: dict[tuple[str, places.Path], Any] = {}


def find(module: str, path: places.Path) -> Any:
    """The value at a place. Raises LookupError if there is none."""
    found: Any = _root(module, path)
    steps = iter(path)
    for step in steps:
        found = _step(found, step, steps)
    return found


def _root(module: str, path: places.Path) -> Any:
    if module not in sys.modules:
        raise LookupError(module, path)
    return sys.modules[module]


def _step(found: Any, step: str, steps: Any) -> Any:  # noqa: PLR0911 - a case for each kind
    if step == places.CELL:
        return dict(places.cells_of(found))[next(steps)].cell_contents
    if step == places.TYPE:
        return type(found)
    if step == places.BASE:
        return found.__mro__[int(next(steps))]
    if step == places.MEMBER:
        return found._member_map_[next(steps)]
    if step == places.ATTRIBUTES:
        return vars(found)
    if step in _FUNCTION_PARTS:
        return getattr(found, _FUNCTION_PARTS[step])
    if is_a(found, (staticmethod, classmethod, property)):
        return getattr(found, step)
    return found[step] if is_a(found, dict) else vars(found)[step]


_FUNCTION_PARTS = {places.DEFAULTS: "__defaults__", places.KWDEFAULTS: "__kwdefaults__"}


def original_at(module: str, path: places.Path) -> Any:
    """The value of the worker's own import at a place that was set since; None if it was not set."""
    return _originals.get((module, path))


def put(module: str, path: places.Path, value: Any) -> None:
    """Sets the value at a place. Raises LookupError if there is no such place."""
    if not path:
        sys.modules[module] = value
        return
    *above, step = path
    is_cell = len(above) > 0 and above[-1] == places.CELL
    owner = find(module, tuple(above[:-1] if is_cell else above))
    if is_cell:
        dict(places.cells_of(owner))[step].cell_contents = value
    elif step in _FUNCTION_PARTS:
        setattr(owner, _FUNCTION_PARTS[step], value)
    elif step == places.ATTRIBUTES:
        for name in vars(owner).keys() - value.keys() - places.OF_DEFINITION:
            del vars(owner)[name]
        vars(owner).update(value)
    elif is_a(owner, dict):
        owner[step] = value
    elif is_a(owner, type):
        _originals.setdefault((module, path), vars(owner).get(step))
        classes.set_attribute(owner, step, value)
    else:
        _originals.setdefault((module, path), vars(owner).get(step))
        vars(owner)[step] = value


def remove(module: str, path: places.Path) -> None:
    """Removes a name that the program no longer has."""
    owner = find(module, path[:-1])
    if path[-1] in _FUNCTION_PARTS:
        setattr(owner, _FUNCTION_PARTS[path[-1]], None)
    elif is_a(owner, dict):
        owner.pop(path[-1], None)
    elif path[-1] in vars(owner):
        _originals.setdefault((module, path), vars(owner)[path[-1]])
        if is_a(owner, type):
            classes.delete_attribute(owner, path[-1])
        else:
            del vars(owner)[path[-1]]


def original(module: str, name: str) -> Any:
    """The value that the worker's own import has created under this name."""
    path = tuple(name.split("."))
    if (module, path) in _originals:
        return _originals[module, path]
    if module not in sys.modules:
        __import__(module)
    return find(module, path)


def make_module(name: str) -> types.ModuleType:
    """A module that is not in `sys.modules`, such as a plug-in that was loaded from its file."""
    return types.ModuleType(name)


def content_of_module(module: types.ModuleType) -> dict[str, Any]:
    """The globals of a module."""
    return {name: value for name, value in vars(module).items() if name != "__builtins__"}


def fill_module(module: types.ModuleType, content: dict[str, Any]) -> None:
    """Sets the globals of a module."""
    vars(module).update(content, __builtins__=sys.modules["builtins"])


def module(name: str) -> types.ModuleType:
    """A module of a class of its own."""
    __import__(name)
    return sys.modules[name]


def late_module(name: str) -> types.ModuleType:
    """A module that is loaded when it is first used."""
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return module(name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made

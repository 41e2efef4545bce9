"""Functions and their cells from their parts; in a worker, those that its own modules have made of the same code.

What a worker's import has made is used again where it can be: other modules may know it, and so may code in C. Functions that
share a variable go on to share it.
"""

from __future__ import annotations

import contextlib
import types
from typing import TYPE_CHECKING, Any

from . import globals as names_in_code
from . import objects, places
from .globals import is_a
from .missing import is_better

if TYPE_CHECKING:
    from collections.abc import Iterator

Place = tuple[str, places.Path]
Key = tuple[str, int]

_STATE = ("__defaults__", "__kwdefaults__", "__dict__", "__qualname__", "__module__", "__doc__", "__annotations__")


def key(code: types.CodeType) -> Key:
    """What tells the functions of a module apart."""
    return code.co_qualname, code.co_firstlineno


def cells_of(function: types.FunctionType) -> Iterator[tuple[str, types.CellType]]:
    """Its cells, each with its name."""
    return zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


# ---- in the program --------------------------------------------------------------------------------------------


def reduce(function: types.FunctionType, where: tuple[Place, ...]) -> Any:
    """How it is written. `where`: the places at which a worker may have the same one."""
    state = {name: getattr(function, name, None) for name in _STATE}
    state["__type_params__"] = getattr(function, "__type_params__", ())
    made = (where, function.__code__, function.__globals__, function.__name__, function.__closure__)
    return _find_or_make, made, state, None, None, _fill


def reduce_cell(cell: types.CellType, of: tuple[tuple[Place, ...], str, Key] | None) -> Any:
    """`of`: a function that has it, by its places and its code, and the name there."""
    made = (_find_or_make_cell, of) if of is not None else (types.CellType, ())
    try:
        return *made, (cell.cell_contents,), None, None, _fill_cell
    except ValueError:  # not filled yet
        return made


# ---- in the worker ---------------------------------------------------------------------------------------------


def _find_or_make(
    where: tuple[Place, ...],
    code: types.CodeType,
    space: dict[str, Any],
    name: str,
    closure: tuple[types.CellType, ...] | None,
) -> types.FunctionType:
    found = _find(where, key(code))
    if found is not None and all(map(_is_same, found.__closure__ or (), closure or ())):
        return found
    return types.FunctionType(code, space, name, None, closure)


def _is_same(one: Any, other: Any) -> bool:
    return one is other


def _find(where: tuple[Place, ...], wanted: Key) -> types.FunctionType | None:
    """The function of this code at one of these places, or inside of what stands there."""
    for place in where:
        for found in standing_at(place):
            for function in names_in_code.functions_in(found):
                if key(function.__code__) == wanted:
                    return function
    return None


def standing_at(place: Place) -> Iterator[Any]:
    """What a worker has at a place, by its import and now."""
    yield objects.original_at(*place)
    with contextlib.suppress(LookupError, AttributeError, ValueError, TypeError):
        yield objects.find(*place)


def _fill(function: types.FunctionType, state: dict[str, Any]) -> None:
    for name, value in state.items():
        if name == "__dict__":
            vars(function).update(value)
        elif value is not None or name in {"__defaults__", "__kwdefaults__", "__doc__"}:
            try:
                setattr(function, name, value)
            except (AttributeError, TypeError):  # not in this version of Python
                continue


def _find_or_make_cell(where: tuple[Place, ...], name: str, wanted: Key) -> types.CellType:
    function = _find(where, wanted)
    return types.CellType() if function is None else dict(cells_of(function))[name]


def _fill_cell(cell: types.CellType, content: tuple[Any]) -> None:
    with contextlib.suppress(ValueError):  # not filled yet
        if is_better(cell.cell_contents, content[0]):
            return
    cell.cell_contents = content[0]


def remake(own: Any, shape: Any) -> Any:
    """What the program has at a place, where another function of the same code stands around it; None where there is none."""
    kind, *inner = shape
    if not is_a(kind, type):
        return next((one for one in names_in_code.functions_in(own) if key(one.__code__) == shape), None)
    parts = [part and remake(own, part) for part in inner]
    return kind(*parts) if kind in (property, staticmethod, classmethod) and any(parts) else None

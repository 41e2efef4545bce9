"""Functions and cells, rebuilt from their parts or from functions that the worker's own modules have created.

If a function of the worker's import has the same code at the same place, that function is used again: other modules, and C
code, may refer to it. Functions that share a variable continue to share it.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import types
from typing import TYPE_CHECKING, Any, NamedTuple

from serverless_mp.program.introspect import is_a

from . import names_in_code, place_access, places
from .missing import is_better

if TYPE_CHECKING:
    from collections.abc import Iterator

Place = tuple[str, places.Path]
# Numbers, one for each function of the program.
_NUMBERS = itertools.count()

_STATE = ("__defaults__", "__kwdefaults__", "__dict__", "__qualname__", "__module__", "__doc__", "__annotations__")


class Origin(NamedTuple):
    """How a function is written: its number, the places where a worker may have the same one, its code, its globals."""

    number: int
    where: tuple[Place, ...]
    code: types.CodeType
    space: dict[str, Any]


# ---- in the program --------------------------------------------------------------------------------------------


def origin_of(function: types.FunctionType, where: tuple[Place, ...]) -> Origin:
    """The origin of a function. Must be asked once for each function."""
    return Origin(next(_NUMBERS), where, function.__code__, function.__globals__)


def reduce(function: types.FunctionType, origin: Origin) -> Any:
    """The reduced form of a function."""
    state = {name: getattr(function, name, None) for name in _STATE}
    state["__type_params__"] = getattr(function, "__type_params__", ())
    return _find_or_make, (*origin, function.__name__, function.__closure__), state, None, None, _fill


def reduce_cell(cell: types.CellType, of: tuple[Origin, str] | None) -> Any:
    """The reduced form of a cell. `of`: a function that has the cell, and the cell's name there."""
    made = (_find_or_make_cell, (*of[0], of[1])) if of is not None else (types.CellType, ())
    try:
        return *made, (cell.cell_contents,), None, None, _fill_cell
    except ValueError:  # not filled yet
        return made


# ---- in the worker ---------------------------------------------------------------------------------------------

# For each function of the program, by number: the worker's own function or a new one.
_chosen: dict[int, types.FunctionType] = {}
_taken: set[int] = set()


def forget() -> None:
    """Forgets all choices, once everything is rebuilt."""
    _chosen.clear()
    _taken.clear()


def _choose(origin: Origin) -> types.FunctionType | None:
    if origin.number not in _chosen:
        found = next((one for place in origin.where for one in standing_at(place) if _is_free(one, origin)), None)
        if found is not None:
            _take(origin, found)
    return _chosen.get(origin.number)


def _take(origin: Origin, function: types.FunctionType) -> None:
    _chosen[origin.number] = function
    _taken.add(id(function))


def _is_free(one: Any, origin: Origin) -> bool:
    is_same = is_a(one, types.FunctionType) and one.__globals__ is origin.space and one.__code__ == origin.code
    return is_same and id(one) not in _taken


def _find_or_make(*parts: Any) -> types.FunctionType:
    *of, name, closure = parts
    origin = Origin(*of)
    found = _choose(origin) if origin.where else None
    if found is not None and all(map(operator.is_, found.__closure__ or (), closure or ())):
        return found
    made = types.FunctionType(origin.code, origin.space, name, None, closure)
    if origin.where:
        _take(origin, made)
    return made


def standing_at(place: Place) -> Iterator[Any]:
    """The values at a place in a worker: the one of the worker's import, and the current one."""
    for look in (place_access.original_at, place_access.find):
        with contextlib.suppress(LookupError, AttributeError, ValueError, TypeError):
            found: Any = look(*place)
            yield found.__func__ if is_a(found, (staticmethod, classmethod)) else found


def _fill(function: types.FunctionType, state: dict[str, Any]) -> None:
    for name, value in state.items():
        if name == "__dict__":
            vars(function).update(value)
        elif value is not None or name in {"__defaults__", "__kwdefaults__", "__doc__"}:
            try:
                setattr(function, name, value)
            except (AttributeError, TypeError):  # missing in this version of Python
                continue


def _find_or_make_cell(*parts: Any) -> types.CellType:
    *of, name = parts
    origin = Origin(*of)
    function = _choose(origin) if origin.where else None
    return types.CellType() if function is None else dict(places.cells_of(function))[name]


def _fill_cell(cell: types.CellType, content: tuple[Any]) -> None:
    with contextlib.suppress(ValueError):  # not filled yet
        if is_better(cell.cell_contents, content[0]):
            return
    cell.cell_contents = content[0]


def remake(own: Any, shape: Any) -> Any:
    """The functions in a worker's own value that have this shape, in the same wrapper; None if there are none."""
    kind, *inner = shape
    if not is_a(kind, type):
        return next((one for one in names_in_code.functions_in(own) if places.shape(one) == shape), None)
    parts = [part and remake(own, part) for part in inner]
    return kind(*parts) if kind in (property, staticmethod, classmethod) and any(parts) else None

"""Examines objects without running any code of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable, Iterator


def is_a(value: Any, kinds: Any) -> bool:
    """Like `isinstance`, but ignores `__class__`, which an object of the program may override."""
    return issubclass(type(value), kinds)


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object itself, without calling a `__getattr__` or a property of the program."""
    try:
        kept = object.__getattribute__(value, "__dict__")
    except Exception:  # noqa: BLE001 - it has none, or hides them
        return {}
    return kept if type(kept) is dict else {}


def contents(cells: Iterable[types.CellType]) -> Iterator[Any]:
    """The contents of the cells that are filled."""
    for cell in cells:
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue

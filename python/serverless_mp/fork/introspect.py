"""Looks at an object without running any code of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable, Iterator


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


def contents(cells: Iterable[types.CellType]) -> Iterator[Any]:
    """The contents of the cells that are filled."""
    for cell in cells:
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue

"""The stand-in, in a worker, for an object that could not be transferred."""

from __future__ import annotations

from typing import Any, NoReturn

# An import recreates these from the start, while those of the program have advanced.
_USED_UP = {"generator", "coroutine", "async_generator"}


class Missing:
    """Stands in a worker for an object that could not be transferred. `kind`: the name of its class."""

    def __init__(self, why: str, kind: str = "") -> None:
        object.__setattr__(self, "_why", why)
        object.__setattr__(self, "_kind", kind)

    def _raise(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(object.__getattribute__(self, "_why"))

    def __repr__(self) -> str:
        return f"<missing: {object.__getattribute__(self, '_why')}>"

    def __hash__(self) -> int:
        return id(self)  # it can be put into a set or a dictionary, as the original object could

    def __reduce__(self) -> Any:
        return Missing, (object.__getattribute__(self, "_why"), object.__getattribute__(self, "_kind"))


_USES = """getattr setattr delattr call iter next len contains getitem setitem delitem enter exit bool int float index str
eq ne add radd sub rsub mul rmul truediv rtruediv floordiv mod pow and or xor lt le gt ge"""
for _name in _USES.split():
    setattr(Missing, f"__{_name}__", Missing._raise)


def is_better(own: Any, value: Any) -> bool:
    """Whether an object of the worker's own import, of the same kind (a connection, a file), replaces this `Missing`."""
    if type(value) is not Missing:
        return False
    kind = object.__getattribute__(value, "_kind")
    return kind not in _USED_UP and type(own).__qualname__ == kind

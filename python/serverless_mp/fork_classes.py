"""Classes of `__main__` that cannot be put together from their parts: a worker defines them anew, as the script does.

A metaclass or an `__init_subclass__` runs code when a class is defined, and what it leaves (validators, tables, fields of a
ctypes structure) may be neither pickled nor set. So the statement that defines the class travels, compiled.
"""

from __future__ import annotations

import abc
import enum
import functools
import sys
import typing
from typing import Any

if typing.TYPE_CHECKING:
    import types

# The metaclasses of classes that are no more than their attributes.
_PLAIN = (type, abc.ABCMeta, enum.EnumMeta, type(typing.Protocol))
_PLAIN_BASES = ("abc", "builtins", "collections", "enum", "typing")


def definition_of(cls: type) -> Any:
    """How it is reduced; None for a class that need not be defined anew, or cannot be."""
    code = statement(cls)
    return code and (_define, (cls.__qualname__, code))


def statement(cls: type) -> types.CodeType | None:
    """The compiled statement that defines it."""
    main = sys.modules["__main__"]
    if cls.__module__ != "__main__" or vars(main).get(cls.__qualname__) is not cls or not _runs_code(cls):
        return None
    try:
        return _statements(str(main.__file__)).get(cls.__qualname__)
    except (OSError, SyntaxError):  # no script, or it was changed since
        return None


def _runs_code(cls: type) -> bool:
    return type(cls) not in _PLAIN or any(
        "__init_subclass__" in vars(base) and base.__module__ not in _PLAIN_BASES for base in cls.__mro__[1:]
    )


@functools.cache
def _statements(path: str) -> dict[str, types.CodeType]:
    import ast  # noqa: PLC0415 - rarely needed

    with open(path, "rb") as f:
        tree = ast.parse(f.read(), path)
    found: dict[str, types.CodeType] = {}

    def visit(body: list[Any]) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = compile(ast.Module([node], []), path, "exec", dont_inherit=True)
            for part in ("body", "orelse", "finalbody") if isinstance(node, (ast.If, ast.Try, ast.With)) else ():
                visit(getattr(node, part, []))

    visit(tree.body)
    return found


def _define(name: str, code: types.CodeType) -> Any:
    space = sys.modules["__main__"].__dict__
    if name not in space:
        exec(code, space)  # noqa: S102 - of the program itself
    return space[name]

"""Finds objects with a rule of their own by which they may do without a part that cannot be pickled."""

from __future__ import annotations

import types
from typing import Any

from serverless_mp.program import modules
from serverless_mp.program.introspect import contents, is_a

# Rules by which a class leaves parts out, or replaces them.
_RULES = ("__getstate__", "__reduce__", "__reduce_ex__")
_LEAVES = (str, bytes, int, float, complex, bool, type(None), types.ModuleType, types.BuiltinFunctionType, types.CodeType)


def of(left_out: dict[int, Any], roots: list[Any]) -> frozenset[int]:
    """The ids of the nearest objects with a rule that contain one of these objects, seen from the roots."""
    wanted = set(left_out)
    found: set[int] = set()
    seen: set[int] = set()
    # Each entry: a value, and the nearest object with a rule on the way to it.
    ahead: list[tuple[Any, int | None]] = [(root, None) for root in reversed(roots)]
    while ahead:
        value, nearest = ahead.pop()
        if id(value) in wanted and nearest is not None:
            found.add(nearest)
        if id(value) in seen or is_a(value, _LEAVES):
            continue
        seen.add(id(value))
        if _has_rule(type(value)):
            nearest = id(value)
        ahead += [(part, nearest) for part in _parts(value)]
    return frozenset(found)


def _has_rule(kind: type) -> bool:
    return any(rule in vars(base) for base in kind.__mro__[:-1] for rule in _RULES)


def _parts(value: Any) -> list[Any]:
    if is_a(value, dict):
        return [*dict.keys(value), *dict.values(value), *_attributes(value)]
    if is_a(value, (list, tuple, set, frozenset)):
        return [*value, *_attributes(value)]
    if is_a(value, types.FunctionType):
        return [*contents(value.__closure__ or ()), *(value.__defaults__ or ()), *vars(value).values()]
    if is_a(value, types.MethodType):
        return [value.__self__, value.__func__]
    if is_a(value, type):
        return list(vars(value).values()) if value.__module__ in modules.OF_MAIN else []
    return _attributes(value)


def _attributes(value: Any) -> list[Any]:
    try:
        kept = object.__getattribute__(value, "__dict__")
    except Exception:  # noqa: BLE001 - it has none, or hides them
        kept = {}
    slots = []
    for base in type(value).__mro__:
        for part in vars(base).values():
            if type(part) is types.MemberDescriptorType:
                try:
                    slots.append(part.__get__(value))
                except (AttributeError, TypeError):
                    continue
    return [*kept.values(), *slots] if type(kept) is dict else slots

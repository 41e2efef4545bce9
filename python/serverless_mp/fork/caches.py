"""What `functools.lru_cache` has kept: in a worker a cached function knows the results that the program knew.

Often the one result is an object that the program shares by it (settings, a model). The cache is part of an object in C, which
shows what it holds to the garbage collector alone.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from typing import Any

from . import functions
from .globals import is_a
from .missing import Missing

Cached = functools._lru_cache_wrapper
# In a new one, until it is filled: what calls the function.
_CALLER = "<caller>"


def reduce(cached: Any, where: tuple[functions.Place, ...]) -> Any:
    """How it is written. `where`: the places at which a worker may have the same one."""
    parameters = cached.cache_parameters()
    usual = {"__wrapped__", "__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__"}
    kept = {name: value for name, value in vars(cached).items() if name not in usual | {"cache_parameters"}}
    entries = [(*_arguments(key, mark, parameters["typed"]), result) for key, result, mark in _entries(cached)]
    made = (where, cached.__wrapped__, parameters, bool(entries))
    return _find_or_make, made, (entries, kept), None, None, _fill


def _entries(cached: Any) -> list[tuple[Any, Any, Any]]:
    """Keys and results, the oldest first, each with the object that stands in keys before named arguments."""
    held = gc.get_referents(cached)[1:]
    found: dict[Any, Any] = {}
    if cached.cache_parameters()["maxsize"] is None:
        found = held[0]
    else:
        while len(held) > 2 and getattr(held[2], "__name__", "") == "_lru_list_elem":  # noqa: PLR2004 - key, result, kind
            found[held[0]] = held[1]
            held = held[3:]
    mark = next((one for one in held if type(one) is object), None)
    return [(key, result, mark) for key, result in list(found.items())]


def _arguments(key: Any, mark: Any, is_typed: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Those of the call that a key stands for."""
    if type(key) in (int, str) and not is_typed:
        return (key,), {}
    before = next((place for place, part in enumerate(key) if part is mark), len(key))
    count = before // 2 if is_typed and before == len(key) else before
    named = key[before + 1 :]
    if is_typed and named:
        named = named[: (len(named) - count) * 2 // 3]
    return key[:count], dict(zip(named[::2], named[1::2], strict=True))


def _find_or_make(where: tuple[functions.Place, ...], function: Any, parameters: dict[str, Any], is_filled: bool) -> Any:
    for found in (one for place in where if not is_filled for one in functions.standing_at(place)):
        is_same = is_a(found, Cached) and found.__wrapped__ is function
        if is_same and found.cache_parameters() == parameters:
            found.cache_clear()
            return found
    caller = functools.partial(function)
    cached = functools.update_wrapper(functools.lru_cache(**parameters)(caller), function)
    vars(cached)[_CALLER] = caller
    return cached


def _fill(cached: Any, content: tuple[list[tuple[tuple[Any, ...], dict[str, Any], Any]], dict[str, Any]]) -> None:
    entries, kept = content
    caller = vars(cached).pop(_CALLER, None)
    for positional, named, result in entries:
        if not is_a(result, Missing):
            # For this call alone it gives what the program had been given.
            caller.__setstate__((_giving(result), (), {}, None))
            with contextlib.suppress(Exception):  # what has no hash here is not known
                cached(*positional, **named)
    if caller is not None:
        caller.__setstate__((cached.__wrapped__, (), {}, None))
    vars(cached).update(kept)


def _giving(result: Any) -> Any:
    return lambda *_, **__: result

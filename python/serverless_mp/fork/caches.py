"""The content of `functools.lru_cache`: a cached function in a worker has the results that it had in the program.

Often the one cached result is an object that the program shares in this way (settings, a model). The cache is part of an object
in C, which shows its content only to the garbage collector.
"""

from __future__ import annotations

import functools
import gc
from functools import partial  # by its name: a program may put a mock in its place
from typing import Any

from serverless_mp.program.introspect import is_a

from . import functions

Cached = functools._lru_cache_wrapper
# In a new cached function, until it is filled: the key of the object that calls the function.
_CALLER = "<caller>"


def reduce(cached: Any, where: tuple[functions.Place, ...]) -> Any:
    """The reduced form of a cached function. `where`: the places at which a worker may have the same one."""
    parameters = cached.cache_parameters()
    function, mark, results = _inside(cached, is_bounded=parameters["maxsize"] is not None)
    entries = [(*_arguments(key, mark, parameters["typed"]), result) for key, result in results]
    kept = {name: value for name, value in vars(cached).items() if name != "cache_parameters"}
    return _find_or_make, (where, function, parameters, bool(entries)), (entries, kept), None, None, fill


def _inside(cached: Any, *, is_bounded: bool) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    """The function, the marker that stands before keyword arguments in keys, and pairs of key and result, oldest first."""
    held = gc.get_referents(cached)[1:]
    results = []
    while is_bounded and getattr(held[2], "__name__", "") == "_lru_list_elem":  # key, result, kind
        results.append((held[0], held[1]))
        held = held[3:]
    cache, function, *others = held
    mark = next(one for one in others if type(one) is object)
    return function, mark, results if is_bounded else list(cache.items())


def _arguments(key: Any, mark: Any, is_typed: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the call that a key stands for."""
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
    caller = partial(function)
    cached = functools.lru_cache(**parameters)(caller)
    vars(cached)[_CALLER] = caller, function
    return cached


def fill(cached: Any, content: tuple[list[tuple[tuple[Any, ...], dict[str, Any], Any]], dict[str, Any]]) -> None:
    """Fills a cache. Raises the error of a key whose hash needs attributes that are not set yet: call it again then."""
    entries, kept = content
    vars(cached).update(kept)
    caller, function = vars(cached).get(_CALLER, (None, None))
    try:
        for positional, named, result in entries:
            # During this call it returns the result that the program had.
            caller.__setstate__((_giving(result), (), {}, None))
            cached(*positional, **named)
    finally:
        if caller is not None:
            caller.__setstate__((function, (), {}, None))
    vars(cached).pop(_CALLER, None)


def _giving(result: Any) -> Any:
    return lambda *_, **__: result

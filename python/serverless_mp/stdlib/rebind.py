"""CPython's functions over our objects, for functions that look up a global by name."""

from __future__ import annotations

import types
from typing import Any


def rebound(function: Any, **names: Any) -> Any:
    """A copy of a function that finds other objects under some names of its module."""
    own = types.FunctionType(
        function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__, function.__closure__
    )
    own.__kwdefaults__ = function.__kwdefaults__
    own.__doc__ = function.__doc__
    return own

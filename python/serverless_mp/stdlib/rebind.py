"""CPython's functions over our leaves, where it has them look up a global by name."""

from __future__ import annotations

import types
from typing import Any


def rebound(function: Any, **names: Any) -> Any:
    """The same function, which finds other objects under some of its module's names."""
    own = types.FunctionType(
        function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__, function.__closure__
    )
    own.__kwdefaults__ = function.__kwdefaults__
    own.__doc__ = function.__doc__
    return own

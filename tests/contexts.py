"""The contexts in which the same test runs: CPython's and ours."""

from __future__ import annotations

from typing import Any


def is_ours(context: Any) -> bool:
    """Whether a context is this package's."""
    return type(context).__module__ == "serverless_mp.context"


def rounds(context: Any, number: int) -> int:
    """How often a test tries a race. On CPython, a few rounds show that the test itself is right."""
    return number if is_ours(context) else min(number, 5)

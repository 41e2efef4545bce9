"""Processes in AWS Lambda: the function's side (`handler`, `supervisor`, `deadline`) and the program's (`launcher`, `pids`,
`preload`).
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`serverless_mp.function.handler` is named in a function's configuration; no other caller needs its imports."""
    if name == "handler":
        from .invocation import handler  # noqa: PLC0415 - only when it is requested

        return handler
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)

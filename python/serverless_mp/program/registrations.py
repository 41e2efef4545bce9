"""What a program registers with the interpreter, which does not show it: noted as it happens, so that a worker can do it too.

Calls around forks (`os.register_at_fork`), codecs and their handlers of errors. What libraries register is not noted: a worker
imports them.
"""

from __future__ import annotations

import codecs
import os
import sys
import types
from typing import TYPE_CHECKING, Any

from . import modules

if TYPE_CHECKING:
    from collections.abc import Callable

_register_at_fork, _register, _register_error, _unregister = (
    os.register_at_fork,
    codecs.register,
    codecs.register_error,
    codecs.unregister,
)
_at_fork: list[dict[str, Callable[[], Any]]] = []
_searches: list[Any] = []
_handlers: dict[str, Any] = {}


def register_at_fork(**calls: Callable[[], Any]) -> None:
    """As `os.register_at_fork`."""
    _register_at_fork(**calls)
    if any(map(modules.is_of_program, calls.values())):
        _at_fork.append(calls)


def register(search_function: Any, /) -> None:
    """As `codecs.register`."""
    _register(search_function)
    if modules.is_of_program(search_function):
        _searches.append(search_function)


def unregister(search_function: Any, /) -> None:
    """As `codecs.unregister`."""
    _unregister(search_function)
    if search_function in _searches:
        _searches.remove(search_function)


def register_error(errors: str, handler: Any, /) -> None:
    """As `codecs.register_error`."""
    _register_error(errors, handler)
    if modules.is_of_program(handler):
        _handlers[errors] = handler


# By module and name: what stands in the place of the interpreter's own.
NOTING = (
    (os, "register_at_fork", register_at_fork),
    (codecs, "register", register),
    (codecs, "unregister", unregister),
    (codecs, "register_error", register_error),
)


def call(when: str) -> None:
    """What is to be called at this moment: `before`, `after_in_parent`, `after_in_child`. An error is shown, no more."""
    for calls in reversed(_at_fork) if when == "before" else list(_at_fork):
        if when in calls:
            try:
                calls[when]()
            except Exception as e:  # noqa: BLE001 - as the interpreter does
                shown: Any = types.SimpleNamespace(
                    exc_type=type(e), exc_value=e, exc_traceback=e.__traceback__, err_msg=None, object=calls[when]
                )
                sys.unraisablehook(shown)


def found() -> Any:
    """All of them, for a worker; None where there are none."""
    return (_at_fork, _searches, _handlers) if _at_fork or _searches or _handlers else None


def take(value: tuple[list[dict[str, Any]], list[Any], dict[str, Any]]) -> None:
    """In a worker: the same."""
    at_fork, searches, handlers = value
    for calls in at_fork:
        register_at_fork(**calls)
    for search in searches:
        register(search)
    for name, handler in handlers.items():
        register_error(name, handler)

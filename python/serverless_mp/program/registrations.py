"""Registrations with the interpreter that cannot be read back: recorded as they happen, so that a worker can repeat them.

These are calls around forks (`os.register_at_fork`), codecs and their error handlers. Those of libraries are not recorded: a
worker imports the libraries.
"""

from __future__ import annotations

import codecs
import os
import sys
import traceback
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


def _is_of_program() -> bool:
    """Whether the caller of the calling function is code of the program."""
    return not modules.is_installed(sys._getframe(2).f_code.co_filename)


def register_at_fork(**calls: Callable[[], Any]) -> None:
    """Like `os.register_at_fork`."""
    _register_at_fork(**calls)
    if _is_of_program():
        _at_fork.append(calls)


def register(search_function: Any, /) -> None:
    """Like `codecs.register`."""
    _register(search_function)
    if _is_of_program():
        _searches.append(search_function)


def unregister(search_function: Any, /) -> None:
    """Like `codecs.unregister`."""
    _unregister(search_function)
    if search_function in _searches:
        _searches.remove(search_function)


def register_error(errors: str, handler: Any, /) -> None:
    """Like `codecs.register_error`."""
    _register_error(errors, handler)
    if _is_of_program():
        _handlers[errors] = handler


# Our replacements of the interpreter's functions, by module and name.
NOTING = (
    (os, "register_at_fork", register_at_fork),
    (codecs, "register", register),
    (codecs, "unregister", unregister),
    (codecs, "register_error", register_error),
)


def call(when: str) -> None:
    """Runs the callbacks of this moment: `before`, `after_in_parent` or `after_in_child`. Errors are printed and ignored."""
    for calls in reversed(_at_fork) if when == "before" else list(_at_fork):
        if when in calls:
            try:
                calls[when]()
            except Exception as e:  # noqa: BLE001 - as the interpreter does
                _show(e, calls[when])


def _show(error: Exception, call: Any) -> None:
    if sys.unraisablehook is not sys.__unraisablehook__:
        shown: Any = types.SimpleNamespace(
            exc_type=type(error), exc_value=error, exc_traceback=error.__traceback__, err_msg=None, object=call
        )
        sys.unraisablehook(shown)
    elif sys.stderr is not None:
        # The interpreter's own format; its function accepts only objects that it has created itself.
        above = error.__traceback__ and error.__traceback__.tb_next
        text = "".join(traceback.format_exception(type(error), error, above))
        sys.stderr.write(f"Exception ignored in: {call!r}\n{text}")


def found() -> Any:
    """All registrations, for a worker."""
    return _at_fork, _searches, _handlers


def take(value: tuple[list[dict[str, Any]], list[Any], dict[str, Any]]) -> None:
    """In a worker: sets exactly these registrations, since importing the program's modules may have added others."""
    at_fork, searches, handlers = value
    for calls in at_fork:
        if calls not in _at_fork:
            _register_at_fork(**calls)
    _at_fork[:] = at_fork
    for search in _searches:
        _unregister(search)
    for search in searches:
        _register(search)
    _searches[:] = searches
    for name, handler in handlers.items():
        _register_error(name, handler)
    _handlers.update(handlers)

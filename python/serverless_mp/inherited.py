"""What a forked process inherits beside modules and memory: how the interpreter and the standard library were set.

Of what programs set before they fork: logging, filters of warnings, replaced standard streams, handlers of signals, the
precision of decimals, numpy's random numbers, limits and hooks. (`random` seeds itself anew in a forked process, here, too.)
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import imports
from .fork_pickler import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STREAMS = ("stdout", "stderr")
_HOOKS = ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook"), (sys, "displayhook"))


def now() -> Iterator[tuple[str, Any]]:
    """In the parent: the name and the value of each setting that is not as in a fresh interpreter."""
    for name, (get, _, module) in _SETTINGS.items():
        if module is None or module in sys.modules:
            value = get()
            if value is not None:
                yield name, value


def take(name: str, value: Any) -> None:
    """In the worker: the same setting."""
    if not isinstance(value, Missing):
        _SETTINGS[name][1](value)


def _get_logging() -> Any:
    import logging  # noqa: PLC0415 - loaded already

    manager = logging.Logger.manager
    loggers = [logging.root, *(one for one in list(manager.loggerDict.values()) if isinstance(one, logging.Logger))]
    return (
        manager.disable,
        logging.raiseExceptions,
        [
            (one, one.level, one.handlers, one.filters, one.propagate, one.disabled)
            for one in loggers
            if one.handlers or one.filters or one.level != logging.NOTSET or one.disabled or not one.propagate
        ],
    )


def _set_logging(value: Any) -> None:
    import logging  # noqa: PLC0415 - only where the program has it

    disable, logging.raiseExceptions, loggers = value
    logging.disable(disable)
    for logger, level, handlers, filters, propagate, disabled in loggers:
        logger.setLevel(level)
        logger.handlers[:] = [one for one in handlers if not isinstance(one, Missing)]
        logger.filters[:] = filters
        logger.propagate, logger.disabled = propagate, disabled


def _get_warnings() -> Any:
    import warnings  # noqa: PLC0415 - loaded already

    return warnings.filters


def _set_warnings(value: Any) -> None:
    import warnings  # noqa: PLC0415 - loaded already

    warnings.filters[:] = value  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _get_streams() -> Any:
    return {name: getattr(sys, name) for name in _STREAMS if getattr(sys, name) is not getattr(sys, f"__{name}__")} or None


def _set_streams(value: dict[str, Any]) -> None:
    for name, stream in value.items():
        if not isinstance(stream, Missing):
            setattr(sys, name, stream)


def _get_signals() -> Any:
    usual = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)
    found = {number: signal.getsignal(number) for number in signal.valid_signals()}
    chosen = {number: handler for number, handler in found.items() if handler not in usual}
    if found[signal.SIGINT] is signal.SIG_DFL:
        chosen[signal.SIGINT] = signal.SIG_DFL
    return chosen or None


def _set_signals(value: dict[int, Any]) -> None:
    for number, handler in value.items():
        if not isinstance(handler, Missing):
            signal.signal(number, handler)


def _get_decimal() -> Any:
    import decimal  # noqa: PLC0415 - loaded already

    return decimal.getcontext()


def _set_decimal(value: Any) -> None:
    import decimal  # noqa: PLC0415 - only where the program has it

    decimal.setcontext(value)


def _get_numpy() -> Any:
    return sys.modules["numpy.random"].get_state()


def _set_numpy(value: Any) -> None:
    imports.when_imported("numpy.random", lambda module: module.set_state(value))  # type: ignore[attr-defined]


def _get_timeout() -> Any:
    return sys.modules["socket"].getdefaulttimeout()


def _set_timeout(value: float) -> None:
    import socket  # noqa: PLC0415 - loaded already

    socket.setdefaulttimeout(value)


def _get_limit() -> Any:
    return sys.getrecursionlimit()


def _get_hooks() -> Any:
    theirs = {f"{owner.__name__}.{name}": getattr(owner, name) for owner, name in _HOOKS}
    return {
        path: hook
        for path, hook in theirs.items()
        if hook is not getattr(sys.modules[path.split(".")[0]], f"__{path.split('.')[1]}__", hook)
    } or None


def _set_hooks(value: dict[str, Any]) -> None:
    for path, hook in value.items():
        if not isinstance(hook, Missing):
            owner, name = path.split(".")
            setattr(sys.modules[owner], name, hook)


def _get_gc() -> Any:
    return None if gc.isenabled() else False


# Of each: how it is read and how it is set, and the module without which it is as ever.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str | None]] = {
    "streams": (_get_streams, _set_streams, None),
    "logging": (_get_logging, _set_logging, "logging"),
    "warnings": (_get_warnings, _set_warnings, "warnings"),
    "signals": (_get_signals, _set_signals, None),
    "hooks": (_get_hooks, _set_hooks, None),
    "decimal": (_get_decimal, _set_decimal, "decimal"),
    "numpy.random": (_get_numpy, _set_numpy, "numpy.random"),
    "socket": (_get_timeout, _set_timeout, "socket"),
    "recursion": (_get_limit, sys.setrecursionlimit, None),
    "gc": (_get_gc, lambda _: gc.disable(), None),
}

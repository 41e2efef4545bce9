"""What a forked process inherits beside modules and memory: how the interpreter and the standard library were set.

Of what programs set before they fork: logging, filters of warnings, replaced standard streams, handlers of signals, the
precision of decimals, numpy's random numbers, limits and hooks. (`random` seeds itself anew in a forked process, here, too.)
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

from . import imports
from .fork_pickler import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STREAMS = ("stdout", "stderr")
_HOOKS = (
    (sys, "excepthook", "__excepthook__"),
    (sys, "unraisablehook", "__unraisablehook__"),
    (sys, "displayhook", "__displayhook__"),
    (threading, "excepthook", "__excepthook__"),
    (warnings, "showwarning", "_showwarning_orig"),
)


def before() -> Iterator[tuple[str, Any]]:
    """In the parent: what must be set before anything else is rebuilt, since loggers are found by their names then."""
    value = _get_log_classes() if "logging" in sys.modules else None
    if value is not None:
        yield "log classes", value


def now() -> Iterator[tuple[str, Any]]:
    """In the parent: the name and the value of each setting that is not as in a fresh interpreter."""
    for name, (get, _, module) in _SETTINGS.items():
        if name != "log classes" and (module is None or module in sys.modules):
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


def _get_log_classes() -> Any:
    import logging  # noqa: PLC0415 - loaded already

    levels = {level: name for level, name in logging._levelToName.items() if level % 10 or level > logging.CRITICAL}
    found = (logging.getLoggerClass(), logging.getLogRecordFactory(), levels)
    return found if found[:2] != (logging.Logger, logging.LogRecord) or levels else None


def _set_log_classes(value: Any) -> None:
    import logging  # noqa: PLC0415 - only where the program has it

    kind, factory, levels = value
    if not isinstance(kind, Missing):
        logging.setLoggerClass(kind)
    if not isinstance(factory, Missing):
        logging.setLogRecordFactory(factory)
    for level, name in levels.items():
        logging.addLevelName(level, name)


def _get_warnings() -> Any:
    return warnings.filters


def _set_warnings(value: Any) -> None:
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
    found = {(owner.__name__, name): (getattr(owner, name), getattr(owner, usual, None)) for owner, name, usual in _HOOKS}
    return {where: hook for where, (hook, usual) in found.items() if hook is not usual} or None


def _set_hooks(value: dict[tuple[str, str], Any]) -> None:
    for (owner, name), hook in value.items():
        if not isinstance(hook, Missing):
            setattr(sys.modules[owner], name, hook)


def _get_gc() -> Any:
    return None if gc.isenabled() else False


# Of each: how it is read and how it is set, and the module without which it is as ever.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str | None]] = {
    "streams": (_get_streams, _set_streams, None),
    "log classes": (_get_log_classes, _set_log_classes, "logging"),
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

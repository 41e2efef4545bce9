"""The settings that a program has made in modules of the standard library that keep their state in a special way."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from serverless_mp.program import modules, tools

from .missing import Missing

if TYPE_CHECKING:
    from collections.abc import Callable

_OF_LOGGING = {50: "CRITICAL", 40: "ERROR", 30: "WARNING", 20: "INFO", 10: "DEBUG", 0: "NOTSET"}
_OF_DIALECT = ("delimiter", "quotechar", "escapechar", "doublequote", "skipinitialspace", "lineterminator", "quoting", "strict")


def _get_logging() -> Any:
    import logging  # noqa: PLC0415 - loaded already

    usual, manager = (logging.Logger, logging.RootLogger), logging.Logger.manager
    loggers = [logging.root, *(one for one in list(manager.loggerDict.values()) if isinstance(one, logging.Logger))]
    return (
        manager.disable,
        logging.raiseExceptions,
        [
            (one, type(one), one.level, _without_tools(one.handlers), one.filters, one.propagate, one.disabled)
            for one in loggers
            if type(one) not in usual
            or one.handlers
            or one.filters
            or one.level != logging.NOTSET
            or one.disabled
            or not one.propagate
        ],
    )


def _without_tools(handlers: list[Any]) -> list[Any]:
    return [one for one in handlers if not tools.is_of_tool(one) and not tools.is_of_tool(getattr(one, "stream", None))]


def _set_logging(value: Any) -> None:
    import logging  # noqa: PLC0415 - only if the program uses it

    disable, logging.raiseExceptions, loggers = value
    logging.disable(disable)
    for logger, kind, level, handlers, filters, propagate, disabled in loggers:
        if type(logger) is not kind and not isinstance(kind, Missing):
            logger.__class__ = kind
        logger.setLevel(level)
        logger.handlers[:] = [one for one in handlers if not isinstance(one, Missing)]
        logger.filters[:] = filters
        logger.propagate, logger.disabled = propagate, disabled


def _get_log_classes() -> Any:
    import logging  # noqa: PLC0415 - loaded already

    levels = {level: name for level, name in logging._levelToName.items() if _OF_LOGGING.get(level) != name}
    found = (logging.getLoggerClass(), logging.getLogRecordFactory(), levels)
    return found if found[:2] != (logging.Logger, logging.LogRecord) or levels else None


def _set_log_classes(value: Any) -> None:
    import logging  # noqa: PLC0415 - only if the program uses it

    kind, factory, levels = value
    if not isinstance(kind, Missing):
        logging.setLoggerClass(kind)
    if not isinstance(factory, Missing):
        logging.setLogRecordFactory(factory)
    for level, name in levels.items():
        logging.addLevelName(level, name)


def _get_warnings() -> Any:
    return [one for one in warnings.filters if not tools.is_of_tool(one[2])]


def _set_warnings(value: Any) -> None:
    warnings.filters[:] = value  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _get_dialects() -> Any:
    csv: Any = sys.modules["_csv"]
    module: Any = sys.modules.get("csv")
    if module is not None and modules.is_own(module):
        return None
    usual = {} if module is None else {"excel": module.excel, "excel-tab": module.excel_tab, "unix": module.unix_dialect}
    known = {name: _parts(csv.get_dialect(name)) for name in csv.list_dialects()}
    return known if known != {name: _parts(csv.Dialect(one)) for name, one in usual.items()} else None


def _parts(dialect: Any) -> dict[str, Any]:
    return {part: getattr(dialect, part) for part in _OF_DIALECT}


def _set_dialects(value: dict[str, dict[str, Any]]) -> None:
    import csv  # noqa: PLC0415 - only if the program uses it

    for name in csv.list_dialects():
        csv.unregister_dialect(name)
    for name, parts in value.items():
        csv.register_dialect(name, **parts)


def _get_faults() -> Any:
    return sys.modules["faulthandler"].is_enabled() or None


def _set_faults(_: bool) -> None:
    import faulthandler  # noqa: PLC0415 - only if the program uses it

    faulthandler.enable()


def _get_policy() -> Any:
    policy = sys.modules["asyncio.events"]._event_loop_policy
    return policy if type(policy).__module__.partition(".")[0] != "asyncio" else None


def _set_policy(value: Any) -> None:
    if value is not None:
        import asyncio  # noqa: PLC0415 - only if the program uses it

        asyncio.set_event_loop_policy(value)


def _get_decimal() -> Any:
    import decimal  # noqa: PLC0415 - loaded already

    return decimal.getcontext(), decimal.DefaultContext


def _set_decimal(value: Any) -> None:
    import decimal  # noqa: PLC0415 - only if the program uses it

    current, default = value
    decimal.setcontext(current)
    for part in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp"):
        setattr(decimal.DefaultContext, part, getattr(default, part))
    decimal.DefaultContext.traps.update(default.traps)


def _get_timeout() -> Any:
    return sys.modules["socket"].getdefaulttimeout()


def _set_timeout(value: float) -> None:
    import socket  # noqa: PLC0415 - loaded already

    socket.setdefaulttimeout(value)


def _get_locale() -> Any:
    import locale  # noqa: PLC0415 - loaded already

    return locale.setlocale(locale.LC_ALL)


def _set_locale(value: str) -> None:
    import locale  # noqa: PLC0415 - only if the program uses it

    locale.setlocale(locale.LC_ALL, value)


def _get_field_limit() -> Any:
    return sys.modules["_csv"].field_size_limit()


def _set_field_limit(value: int) -> None:
    import csv  # noqa: PLC0415 - only if the program uses it

    csv.field_size_limit(value)


# For each: the function that reads it, the function that sets it, and the module without which it has its default.
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str]] = {
    "dialects": (_get_dialects, _set_dialects, "_csv"),
    "faulthandler": (_get_faults, _set_faults, "faulthandler"),
    "asyncio": (_get_policy, _set_policy, "asyncio.events"),
    "logging": (_get_logging, _set_logging, "logging"),
    "warnings": (_get_warnings, _set_warnings, "warnings"),
    "decimal": (_get_decimal, _set_decimal, "decimal"),
    "socket": (_get_timeout, _set_timeout, "socket"),
    "locale": (_get_locale, _set_locale, "locale"),
    "csv": (_get_field_limit, _set_field_limit, "_csv"),
}
# Set before anything is imported, since loggers are then created by name.
BEFORE: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str]] = {
    "log classes": (_get_log_classes, _set_log_classes, "logging"),
}

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
from multiprocessing import util
from typing import TYPE_CHECKING, Any

from serverless_mp.program import IN_SYS_AT_FIRST, import_hooks, modules, registrations, tools

from . import c_objects
from .missing import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STREAMS = ("stdout", "stderr")
_CLOSED = "closed"
_OF_SYS = ("tracebacklimit", "ps1", "ps2", "breakpointhook", "dont_write_bytecode")
_OF_LOGGING = {50: "CRITICAL", 40: "ERROR", 30: "WARNING", 20: "INFO", 10: "DEBUG", 0: "NOTSET"}
_OF_DIALECT = ("delimiter", "quotechar", "escapechar", "doublequote", "skipinitialspace", "lineterminator", "quoting", "strict")
_HOOKS = (
    (sys, "excepthook", "__excepthook__"),
    (sys, "unraisablehook", "__unraisablehook__"),
    (sys, "displayhook", "__displayhook__"),
    (threading, "excepthook", "__excepthook__"),
    (warnings, "showwarning", "_showwarning_orig"),
)


def before() -> Iterator[tuple[str, Any]]:
    """In the parent: what must be set before anything else is rebuilt, since loggers are found by their names then."""
    for name, (get, _, module) in _BEFORE.items():
        value = get() if module in sys.modules else None
        if value is not None:
            yield name, value


def now() -> Iterator[tuple[str, Any]]:
    """In the parent: the name and the value of each setting that is not as in a fresh interpreter."""
    for name, (get, _, module) in _SETTINGS.items():
        if module is None or module in sys.modules:
            value = get()
            if value is not None:
                yield name, value


def take(name: str, value: Any) -> None:
    """In the worker: the same setting."""
    if name.startswith(("SIG", "signal ")):
        _set_handler(name, value)
    elif not isinstance(value, Missing):
        (_BEFORE.get(name) or _SETTINGS[name])[1](value)


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
    import logging  # noqa: PLC0415 - only where the program has it

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
    import logging  # noqa: PLC0415 - only where the program has it

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


def _get_encodings() -> Any:
    found = {name: getattr(sys, f"__{name}__") for name in _STREAMS}
    return {
        name: (stream.encoding, stream.errors, stream.line_buffering)
        for name, stream in found.items()
        if stream is not None and not stream.closed
    }


def _set_encodings(value: dict[str, tuple[str, str, bool]]) -> None:
    for name, (encoding, errors, line_buffering) in value.items():
        stream = getattr(sys, f"__{name}__")
        if stream is not None and (stream.encoding, stream.errors) != (encoding, errors):
            stream.reconfigure(encoding=encoding, errors=errors, line_buffering=line_buffering)


def _get_own() -> Any:
    found = {name: getattr(sys, name) for name in _OF_SYS if hasattr(sys, name) and not tools.is_of_tool(getattr(sys, name))}
    return found | {"stack_size": threading.stack_size(), "name": threading.current_thread().name}


def _set_own(value: dict[str, Any]) -> None:
    threading.stack_size(value.pop("stack_size"))
    threading.main_thread().name = value.pop("name")
    for name, one in value.items():
        if not isinstance(one, Missing):
            setattr(sys, name, one)


def _get_dialects() -> Any:
    csv: Any = sys.modules["_csv"]
    module: Any = sys.modules.get("csv")
    usual = {} if module is None else {"excel": module.excel, "excel-tab": module.excel_tab, "unix": module.unix_dialect}
    known = {name: _parts(csv.get_dialect(name)) for name in csv.list_dialects()}
    return known if known != {name: _parts(csv.Dialect(one)) for name, one in usual.items()} else None


def _parts(dialect: Any) -> dict[str, Any]:
    return {part: getattr(dialect, part) for part in _OF_DIALECT}


def _set_dialects(value: dict[str, dict[str, Any]]) -> None:
    import csv  # noqa: PLC0415 - only where the program has it

    for name in csv.list_dialects():
        csv.unregister_dialect(name)
    for name, parts in value.items():
        csv.register_dialect(name, **parts)


def _get_faults() -> Any:
    return sys.modules["faulthandler"].is_enabled() or None


def _set_faults(_: bool) -> None:
    import faulthandler  # noqa: PLC0415 - only where the program has it

    faulthandler.enable()


def _get_policy() -> Any:
    policy = sys.modules["asyncio.events"]._event_loop_policy
    return policy if type(policy).__module__.partition(".")[0] != "asyncio" else None


def _set_policy(value: Any) -> None:
    if value is not None:
        import asyncio  # noqa: PLC0415 - only where the program has it

        asyncio.set_event_loop_policy(value)


def _get_streams() -> Any:
    streams = {name: getattr(sys, name) for name in _STREAMS}
    changed = {
        name: _CLOSED if getattr(stream, "closed", False) is True else stream
        for name, stream in streams.items()
        if not tools.is_of_tool(stream)
        and (stream is not getattr(sys, f"__{name}__") or getattr(stream, "closed", False) is True)
    }
    return changed or None


def _set_streams(value: dict[str, Any]) -> None:
    for name, stream in value.items():
        if isinstance(stream, Missing):
            continue
        if stream == _CLOSED:
            getattr(sys, name).close()
        else:
            setattr(sys, name, stream)


def handlers() -> Iterator[tuple[str, Any]]:
    """In the parent: the handlers of signals that the program has set, each by the signal's name."""
    usual = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        is_set = handler not in usual or (number == signal.SIGINT and handler is signal.SIG_DFL)
        if is_set and not tools.is_of_tool(handler):
            yield signal.Signals(number).name if number in list(signal.Signals) else f"signal {int(number)}", handler


def _set_handler(name: str, handler: Any) -> None:
    number = int(name.removeprefix("signal ")) if name.startswith("signal ") else signal.Signals[name]
    signal.signal(number, _late(handler) if isinstance(handler, Missing) else handler)


def _late(missing: Any) -> Callable[[int, Any], Any]:
    """A handler that says what is missing when its signal comes, and not when `signal.signal` looks at it."""

    def handler(number: int, frame: Any) -> Any:
        return missing(number, frame)

    return handler


def _get_decimal() -> Any:
    import decimal  # noqa: PLC0415 - loaded already

    return decimal.getcontext(), decimal.DefaultContext


def _set_decimal(value: Any) -> None:
    import decimal  # noqa: PLC0415 - only where the program has it

    current, default = value
    decimal.setcontext(current)
    for part in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp"):
        setattr(decimal.DefaultContext, part, getattr(default, part))
    decimal.DefaultContext.traps.update(default.traps)


def _get_numpy() -> Any:
    return sys.modules["numpy.random"].get_state()


def _set_numpy(value: Any) -> None:
    import_hooks.when_imported("numpy.random", lambda module: module.set_state(value))  # type: ignore[attr-defined]


def _get_timeout() -> Any:
    return sys.modules["socket"].getdefaulttimeout()


def _set_timeout(value: float) -> None:
    import socket  # noqa: PLC0415 - loaded already

    socket.setdefaulttimeout(value)


def _get_limit() -> Any:
    return sys.getrecursionlimit()


def _get_hooks() -> Any:
    found = {(owner.__name__, name): (getattr(owner, name), getattr(owner, usual, None)) for owner, name, usual in _HOOKS}
    return {where: hook for where, (hook, usual) in found.items() if hook is not usual and not tools.is_of_tool(hook)} or None


def _set_hooks(value: dict[tuple[str, str], Any]) -> None:
    for (owner, name), hook in value.items():
        if not isinstance(hook, Missing):
            setattr(sys.modules[owner], name, hook)


def _get_given() -> Any:
    """Attributes that the program has given to `sys`, also in the place of others."""
    missing = object()
    found = {name: value for name, value in vars(sys).items() if IN_SYS_AT_FIRST.get(name, missing) is not value}
    return {name: value for name, value in found.items() if name not in _OF_PROCESS and not tools.is_of_tool(value)} or None


def _set_given(value: dict[str, Any]) -> None:
    vars(sys).update({name: one for name, one in value.items() if not isinstance(one, Missing)})


# What the interpreter sets, what each process has of its own, and what arrives by other means.
_OF_PROCESS = {"last_type", "last_value", "last_traceback", "last_exc", "stdin", "__stdin__", "__stdout__", "__stderr__"}
_OF_PROCESS |= {"argv", "path", "modules", "path_importer_cache", "warnoptions", "meta_path", "path_hooks", "flags", *_OF_SYS}
_OF_PROCESS |= {*_STREAMS, *(name for owner, name, _ in _HOOKS if owner is sys)}


def _get_finders() -> Any:
    """The program's own, each with whether it stands behind one of the interpreter's."""
    flags = {name: [*map(modules.is_of_program, getattr(sys, name))] for name in _FINDERS}
    return {
        name: [(one, not all(flags[name][:place])) for place, one in enumerate(getattr(sys, name)) if flags[name][place]]
        for name in _FINDERS
    }


def _set_finders(value: dict[str, list[tuple[Any, bool]]]) -> None:
    for name, own in value.items():
        usable = [(one, is_behind) for one, is_behind in own if not isinstance(one, Missing)]
        others = [one for one in getattr(sys, name) if not modules.is_of_program(one)]
        first = [one for one, is_behind in usable if not is_behind]
        getattr(sys, name)[:] = [*first, *others, *(one for one, is_behind in usable if is_behind)]


_FINDERS = ("meta_path", "path_hooks")


def _get_traces() -> Any:
    """What `threading` is to set in new threads."""
    found = (threading._trace_hook, threading._profile_hook)  # type: ignore[attr-defined]
    return found if any(map(modules.is_of_program, found)) else None


def _set_traces(value: tuple[Any, Any]) -> None:
    for call, one in zip((threading.settrace, threading.setprofile), value, strict=True):
        if not isinstance(one, Missing):
            call(one)


def _get_gc() -> Any:
    own = [one for one in gc.callbacks if modules.is_of_program(one)]
    return gc.isenabled(), gc.get_threshold(), gc.get_debug(), own


def _set_gc(value: tuple[bool, tuple[int, int, int], int, list[Any]]) -> None:
    is_enabled, threshold, debug, callbacks = value
    gc.set_threshold(*threshold)
    gc.set_debug(debug)
    others = [one for one in gc.callbacks if not modules.is_of_program(one)]
    gc.callbacks[:] = [*others, *(one for one in callbacks if not isinstance(one, Missing))]
    if not is_enabled:
        gc.disable()


def _get_numbers() -> Any:
    digits = getattr(sys, "get_int_max_str_digits", lambda: None)()
    return sys.getswitchinterval(), digits


def _set_numbers(value: tuple[float, int | None]) -> None:
    interval, digits = value
    sys.setswitchinterval(interval)
    if digits is not None:
        sys.set_int_max_str_digits(digits)


def _get_locale() -> Any:
    import locale  # noqa: PLC0415 - loaded already

    return locale.setlocale(locale.LC_ALL)


def _set_locale(value: str) -> None:
    import locale  # noqa: PLC0415 - only where the program has it

    locale.setlocale(locale.LC_ALL, value)


def _get_field_limit() -> Any:
    return sys.modules["_csv"].field_size_limit()


def _set_field_limit(value: int) -> None:
    import csv  # noqa: PLC0415 - only where the program has it

    csv.field_size_limit(value)


def _get_print_options() -> Any:
    numpy: Any = sys.modules["numpy"]
    return numpy.get_printoptions(), numpy.geterr(), numpy.geterrcall()


def _set_print_options(value: Any) -> None:
    printed, errors, call = value

    def apply(module: Any) -> None:
        module.set_printoptions(**{key: option for key, option in printed.items() if key != "override_repr"})
        module.seterr(**errors)
        if not isinstance(call, Missing):
            module.seterrcall(call)

    import_hooks.when_imported("numpy", apply)


def _get_torch() -> Any:
    torch: Any = sys.modules["torch"]
    return torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()


def _set_torch(value: Any) -> None:
    state, threads, kind, is_grad_enabled = value

    def apply(torch: Any) -> None:
        torch.set_rng_state(state)
        torch.set_num_threads(threads)
        torch.set_default_dtype(kind)
        torch.set_grad_enabled(is_grad_enabled)

    import_hooks.when_imported("torch", apply)


def _get_django() -> Any:
    settings = sys.modules["django.conf"].settings
    if not settings.configured:
        return None
    # What is not as the settings' module says: set since, or given to `configure()`.
    wrapped = object.__getattribute__(settings, "__dict__")["_wrapped"]
    has_module = type(wrapped).__name__ == "Settings"
    said = vars(sys.modules[wrapped.SETTINGS_MODULE]) if has_module else {}
    given = {name: value for name, value in vars(wrapped).items() if name.isupper() and name != "SETTINGS_MODULE"}
    usual = vars(sys.modules["django.conf"].global_settings)
    changed = {name: value for name, value in given.items() if said.get(name, usual.get(name)) is not value}
    apps = sys.modules.get("django.apps")
    return has_module, changed, apps is not None and apps.apps.ready


def _set_django(value: tuple[bool, dict[str, Any], bool]) -> None:
    import django  # type: ignore[import-not-found]  # noqa: PLC0415 - only where the program has it
    from django.conf import settings  # type: ignore[import-not-found]  # noqa: PLC0415 - the same

    has_module, changed, is_ready = value
    if not has_module:
        settings.configure(**changed)
    if is_ready:
        django.setup()
    for name, one in changed.items() if has_module else ():
        setattr(settings, name, one)


def _set_libraries(_: Any) -> None:
    """Each was found and filled when it was read."""


def _get_after_fork() -> Any:
    """What `multiprocessing.util` is to call in a process that forks, and with what. A library's import registers its own."""
    return [(obj, call) for (_, _, call), obj in sorted(_registry.items(), key=_by_number) if _is_of_program(obj, call)]


_registry: Any = util._afterfork_registry  # type: ignore[attr-defined]


def _by_number(item: Any) -> int:
    (number, _, _), _ = item
    return int(number)


def _is_of_program(*parts: Any) -> bool:
    return any(map(modules.is_of_program, parts))


def _set_after_fork(value: Any) -> None:
    for key, obj in list(_registry.items()):
        if _is_of_program(obj, key[2]):  # of imports, which the program's are among
            del _registry[key]
    for obj, call in value:
        if not isinstance(obj, Missing) and not isinstance(call, Missing):
            util.register_after_fork(obj, call)
            _after_fork.append((obj, call))


# To be called when everything is rebuilt: multiprocessing does it in processes that it has forked itself.
_after_fork: list[tuple[Any, Any]] = []


def finish() -> None:
    """In the worker, at last: what the program has registered to be called in a process that forks."""
    registrations.call("after_in_child")
    for obj, call in _after_fork:
        try:
            call(obj)
        except Exception as e:  # noqa: BLE001 - as multiprocessing does
            util.info(f"after forker raised exception {e}")
    _after_fork.clear()


# Of each: how it is read and how it is set, and the module without which it is as ever.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str | None]] = {
    "encodings": (_get_encodings, _set_encodings, None),
    "streams": (_get_streams, _set_streams, None),
    "sys": (_get_own, _set_own, None),
    "dialects": (_get_dialects, _set_dialects, "_csv"),
    "faulthandler": (_get_faults, _set_faults, "faulthandler"),
    "asyncio": (_get_policy, _set_policy, "asyncio.events"),
    "logging": (_get_logging, _set_logging, "logging"),
    "warnings": (_get_warnings, _set_warnings, "warnings"),
    "hooks": (_get_hooks, _set_hooks, None),
    "decimal": (_get_decimal, _set_decimal, "decimal"),
    "numpy.random": (_get_numpy, _set_numpy, "numpy.random"),
    "socket": (_get_timeout, _set_timeout, "socket"),
    "recursion": (_get_limit, sys.setrecursionlimit, None),
    "given to sys": (_get_given, _set_given, None),
    "finders": (_get_finders, _set_finders, None),
    "traces": (_get_traces, _set_traces, None),
    "gc": (_get_gc, _set_gc, None),
    "numbers": (_get_numbers, _set_numbers, None),
    "locale": (_get_locale, _set_locale, "locale"),
    "csv": (_get_field_limit, _set_field_limit, "_csv"),
    "numpy": (_get_print_options, _set_print_options, "numpy"),
    "torch": (_get_torch, _set_torch, "torch"),
    "libraries of C": (c_objects.libraries, _set_libraries, None),
    "registrations": (registrations.found, registrations.take, None),
    "after fork": (_get_after_fork, _set_after_fork, None),
}
# Those that come before anything is imported: modules of a Django project can only be imported where that is set up.
_BEFORE: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str]] = {
    "log classes": (_get_log_classes, _set_log_classes, "logging"),
    "django": (_get_django, _set_django, "django.conf"),
}

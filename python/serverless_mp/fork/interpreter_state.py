"""The settings of the interpreter, as a forked process inherits them. Settings of libraries are read and set here as well.

Those of the interpreter are: replaced standard streams, signal handlers, limits, hooks, finders, and callbacks around forks.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import warnings
from functools import partial  # by its name: a program may put a mock in its place
from multiprocessing import util
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from serverless_mp.program import IN_SYS_AT_FIRST, modules, registrations, tools

from . import collector, library_state, standard_library_state, traces
from .missing import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STREAMS = ("stdout", "stderr")
_CLOSED = "closed"
_OF_SYS = ("tracebacklimit", "ps1", "ps2", "breakpointhook", "dont_write_bytecode", "orig_argv")
_HOOKS = (
    (sys, "excepthook", "__excepthook__"),
    (sys, "unraisablehook", "__unraisablehook__"),
    (sys, "displayhook", "__displayhook__"),
    (threading, "excepthook", "__excepthook__"),
    (warnings, "showwarning", "_showwarning_orig"),
)


def before() -> Iterator[tuple[str, Any]]:
    """In the parent: the settings that must be set before anything is rebuilt, since loggers are then found by name."""
    for name, (get, _, module) in _BEFORE.items():
        value = get() if _is_there(module) else None
        if value is not None:
            yield name, value


def now() -> Iterator[tuple[str, Any]]:
    """In the parent: the name and the value of each setting that differs from a fresh interpreter."""
    for name, (get, _, module) in _SETTINGS.items():
        if module is None or _is_there(module):
            value = get()
            if value is not None:
                yield name, value


def _is_there(module: str) -> bool:
    """Whether a module was imported, and is not the program's own of that name."""
    return module in sys.modules and not modules.is_own(sys.modules[module])


def take(name: str, value: Any) -> None:
    """In the worker: applies a setting."""
    if name.startswith(("SIG", "signal ")):
        _set_handler(name, value)
    elif not isinstance(value, Missing):
        (_BEFORE.get(name) or _SETTINGS[name])[1](value)


def _get_encodings() -> Any:
    return {name: how for name in _STREAMS if (how := _configuration(getattr(sys, f"__{name}__"))) is not None}


def _configuration(stream: Any) -> dict[str, Any] | None:
    """How a standard stream is configured; None if it is closed, or if its buffer was detached."""
    try:
        return None if stream is None or stream.closed else {name: getattr(stream, name) for name in _OF_STREAM}
    except ValueError:
        return None


_OF_STREAM = ("encoding", "errors", "line_buffering", "write_through")


def _set_encodings(value: dict[str, dict[str, Any]]) -> None:
    for name, how in value.items():
        stream = getattr(sys, f"__{name}__")
        if _configuration(stream) not in (how, None):
            stream.reconfigure(**how)


def _get_own() -> Any:
    found = {name: getattr(sys, name) for name in _OF_SYS if hasattr(sys, name) and not tools.is_of_tool(getattr(sys, name))}
    return found | {"stack_size": threading.stack_size(), "name": threading.current_thread().name}


def _set_own(value: dict[str, Any]) -> None:
    threading.stack_size(value.pop("stack_size"))
    threading.main_thread().name = value.pop("name")
    for name, one in value.items():
        if not isinstance(one, Missing):
            setattr(sys, name, one)


def _get_streams() -> Any:
    streams = {name: getattr(sys, name) for name in _STREAMS}
    changed = {
        name: _CLOSED if _is_closed(stream) else stream
        for name, stream in streams.items()
        if not tools.is_of_tool(stream) and (stream is not getattr(sys, f"__{name}__") or _is_closed(stream))
    }
    return changed or None


def _is_closed(stream: Any) -> bool:
    try:
        return getattr(stream, "closed", False) is True
    except ValueError:  # its buffer was detached
        return False


def _set_streams(value: dict[str, Any]) -> None:
    for name, stream in value.items():
        if isinstance(stream, Missing):
            continue
        if stream == _CLOSED:
            getattr(sys, name).close()
        else:
            setattr(sys, name, stream)


def handlers() -> Iterator[tuple[str, Any]]:
    """In the parent: the signal handlers that the program has set, each by the signal's name."""
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
    """A handler that reports the missing object when its signal arrives, rather than when `signal.signal` examines it."""

    def handler(number: int, frame: Any) -> Any:
        return missing(number, frame)

    return handler


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
    """Attributes that the program has added to `sys` or replaced there."""
    missing = object()
    found = {name: value for name, value in vars(sys).items() if IN_SYS_AT_FIRST.get(name, missing) is not value}
    return {name: value for name, value in found.items() if name not in _OF_PROCESS and not tools.is_of_tool(value)} or None


def _set_given(value: dict[str, Any]) -> None:
    vars(sys).update({name: one for name, one in value.items() if not isinstance(one, Missing)})


# Names that the interpreter sets, that are private to each process, or that are transferred by other means.
_OF_PROCESS = {"last_type", "last_value", "last_traceback", "last_exc", "stdin", "__stdin__", "__stdout__", "__stderr__"}
_OF_PROCESS |= {"argv", "path", "modules", "path_importer_cache", "warnoptions", "meta_path", "path_hooks", "flags", *_OF_SYS}
_OF_PROCESS |= {*_STREAMS, *(name for owner, name, _ in _HOOKS if owner is sys)}


def _get_finders() -> Any:
    """The program's own finders, each with whether it stands behind one of the interpreter's."""
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
    """The trace and profile functions that `threading` sets in new threads, and those of the thread that starts the process."""
    found = (threading._trace_hook, threading._profile_hook, *traces.of_thread())  # type: ignore[attr-defined]
    return found if any(map(modules.is_of_program, found)) else None


def _set_traces(value: tuple[Any, ...]) -> None:
    calls = (threading.settrace, threading.setprofile, sys.settrace, sys.setprofile)
    for call, one in zip(calls, value, strict=True):
        if not isinstance(one, Missing):
            _traces.append(partial(call, one))


# Set as the last step.
_traces: list[Callable[[], None]] = []


def _get_gc() -> Any:
    own = [one for one in gc.callbacks if modules.is_of_program(one)]
    return collector.is_enabled(), gc.get_threshold(), gc.get_debug(), own


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


def _get_after_fork() -> Any:
    """The callbacks that `multiprocessing.util` runs after a fork, with their objects. A library's import registers its own."""
    return [(obj, call) for (_, _, call), obj in sorted(_registry.items(), key=_by_number) if _is_of_program(obj, call)]


_registry: Any = util._afterfork_registry  # type: ignore[attr-defined]


def _by_number(item: Any) -> int:
    (number, _, _), _ = item
    return int(number)


def _is_of_program(*parts: Any) -> bool:
    return any(map(modules.is_of_program, parts))


def _set_after_fork(value: Any) -> None:
    for key, obj in list(_registry.items()):
        if _is_of_program(obj, key[2]):  # registered by imports, which include the program's
            del _registry[key]
    for obj, call in value:
        if not isinstance(obj, Missing) and not isinstance(call, Missing):
            util.register_after_fork(obj, call)
            _after_fork.append((obj, call))


def _get_reducers() -> Any:
    """What the program has registered with the pickler of multiprocessing."""
    reducers: Any = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
    return {kind: reduce for kind, reduce in list(reducers.items()) if _is_of_program(reduce)} or None


def _set_reducers(value: dict[Any, Any]) -> None:
    for kind, reduce in value.items():
        if not isinstance(kind, Missing) and not isinstance(reduce, Missing):
            ForkingPickler.register(kind, reduce)


# Called after everything is rebuilt: multiprocessing calls them in processes that it has forked itself.
_after_fork: list[tuple[Any, Any]] = []


def finish() -> None:
    """In the worker, as the last step: runs the callbacks that the program has registered for a forked child."""
    registrations.call("after_in_child")
    for obj, call in _after_fork:
        try:
            call(obj)
        except Exception as e:  # noqa: BLE001 - as multiprocessing does
            util.info(f"after forker raised exception {e}")
    _after_fork.clear()
    for set_trace in _traces:
        set_trace()


# For each: the function that reads it, the function that sets it, and the module without which it has its default.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str | None]] = {
    "encodings": (_get_encodings, _set_encodings, None),
    "streams": (_get_streams, _set_streams, None),
    "sys": (_get_own, _set_own, None),
    **standard_library_state.SETTINGS,
    "hooks": (_get_hooks, _set_hooks, None),
    "recursion": (_get_limit, sys.setrecursionlimit, None),
    "given to sys": (_get_given, _set_given, None),
    "finders": (_get_finders, _set_finders, None),
    "traces": (_get_traces, _set_traces, None),
    "gc": (_get_gc, _set_gc, None),
    "numbers": (_get_numbers, _set_numbers, None),
    **library_state.SETTINGS,
    "registrations": (registrations.found, registrations.take, None),
    "after fork": (_get_after_fork, _set_after_fork, None),
    "reducers": (_get_reducers, _set_reducers, None),
}
# The settings that are applied before anything is imported.
_BEFORE = standard_library_state.BEFORE | library_state.BEFORE

"""What a worker gets of a program that forks: its `__main__`, not executed again, and what was set in its modules.

A program that forks relies on what `__main__` was at that moment: functions, classes, and globals set by code that must not
run twice. So the worker gets a `__main__` with all its functions, classes and imports and with the globals that any of them
names; what was set in the program's other modules (`reach` says which); and the process. All are written by one pickler, each
in a piece of its own, so that what two of them share stays one object, and one that cannot be rebuilt does not take the others
with it. Its use raises an error which says why. From then on everything of `__main__` travels by name, both ways, and so is one
and the same for `is`, `isinstance`, `except` and `global`; only lambdas and nested functions go by value, bound to it.

Here is the parent's side; the worker's is `rebuilt_main`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import sys
import types
from multiprocessing import context
from typing import Any

from . import fork_classes, inherited, reach
from .fork_pickler import ForkPickler, Missing
from .fork_reducers import SPECIAL

# These are the worker's own.
_NOT_CONTENT = {"__builtins__", "__spec__", "__loader__", "__cached__"}
_CODE = (types.FunctionType, type, types.ModuleType)
_CONTAINERS = (dict, list, set)
# To pickle what another thread changes meanwhile.
_ATTEMPTS = 4


def dump(process_obj: Any, file: Any) -> None:
    """Writes them all. While the process is launched, so that locks and queues can come along.

    Raises what pickle raises for an argument of the process that cannot be pickled.
    """
    popen: Any = context.get_spawning_popen()
    pieces = None
    with contextlib.suppress(Exception):  # something cannot travel; what, is found by looking at each
        pieces = _Writing(process_obj, careful=False).pieces
    if pieces is None:
        popen.forget_what_was_pickled()
        pieces = _Writing(process_obj, careful=True).pieces
    for head, parts in pieces:
        pickle.dump((*head, sum(map(len, parts))), file)
        for part in parts:
            file.write(part)


class _Parts(list[bytes]):
    """A file for a pickler, which writes large content in one part."""

    def write(self, data: Any) -> int:
        self.append(bytes(data))
        return len(self[-1])


class _Writing:
    """Of all pieces: what each is and stands for, and what the pickler wrote."""

    def __init__(self, process_obj: Any, *, careful: bool) -> None:
        used = _used()
        wanted = _wanted(used)
        arguments = [process_obj._target, *process_obj._args, *process_obj._kwargs.values()]
        modules, values = reach.reached([process_obj, *arguments, *wanted.values()], used.all)
        values["__main__"] = _filled_by_definitions(wanted)
        owned: dict[int, tuple[str, str, type]] = {}
        for module, place, value in _items(values):
            if module == "__main__" or _is_refilled(value):
                owned.setdefault(id(value), (module, place, type(value)))
        self.pieces: list[tuple[tuple[str, Any], list[bytes]]] = []
        self._careful = careful
        self._new_pickler = functools.partial(ForkPickler, known=wanted, careful=careful, owned=owned)
        self._parts = _Parts()
        self._pickler = self._new_pickler(self._parts)
        self._write(process_obj, wanted, modules, values, owned, used)
        for argument in arguments:
            if id(argument) in self._pickler.left_out:
                raise self._pickler.left_out[id(argument)]

    def _write(self, process_obj: Any, wanted: Any, modules: Any, values: Any, owned: Any, used: reach.Names) -> None:
        submodules = reach.submodules([value for value in wanted.values() if reach.is_a(value, types.ModuleType)], used.all)
        self._add("import", None, modules | dict.fromkeys(submodules))
        for name, value in inherited.before():
            self._add("inherited", name, value)
        for name in _in_order(wanted):
            self._add("main", name, wanted[name], f"global {name!r} of __main__")
        for module, place, value in _items(values):
            if owned.get(id(value)) == (module, place, type(value)):
                self._add("content", (module, place, type(value)), _content(value), f"{place} of {module}")
            else:
                self._add("module", (module, place), value, f"{place} of {module}")
        for name, value in inherited.now():
            self._add("inherited", name, value)
        self._add("process", None, process_obj, f"an argument of process {process_obj._name!r}")

    def _add(self, kind: str, place: Any, value: Any, subject: str = "") -> None:
        self._pickler.subject = subject or str(place)
        if self._careful:
            self._dump_or_leave_out(kind, value)
        else:
            self._pickler.dump(value)
        self.pieces.append(((kind, place), [*self._parts]))
        self._parts.clear()

    def _dump_or_leave_out(self, kind: str, value: Any) -> None:
        """Where pickle itself fails, with everything as it was before. Another thread may just have changed a container."""
        before = self._pickler.memo.copy()
        for attempt in range(_ATTEMPTS):
            try:
                return self._pickler.dump(value)
            except Exception as e:
                old, self._pickler = self._pickler, self._new_pickler(self._parts)
                self._pickler.memo, self._pickler.left_out, self._pickler.subject = before, old.left_out, old.subject
                self._parts.clear()
                if attempt < _ATTEMPTS - 1 and type(e) is RuntimeError:
                    continue
                if kind == "process":
                    raise
                why = f"{old.subject} could not travel to the worker: {type(e).__name__}: {e}"
                return self._pickler.dump(Missing(why))
        return None


def _filled_by_definitions(wanted: dict[str, Any]) -> dict[str, Any]:
    """By place: containers that the definition of classes fills once more, in a worker. They are there, empty, before."""
    anew = [value for value in wanted.values() if reach.is_a(value, type) and fork_classes.statement(value)]
    if not anew:
        return {}
    found = {name: value for name, value in wanted.items() if type(value) in _CONTAINERS and _holds(value, anew)}
    return found | fork_classes.registers(anew)


def _holds(container: Any, classes: list[type], depth: int = 3) -> bool:
    """Whether some of these classes, or objects of theirs, are in it."""
    parts = [*container.values(), *container] if isinstance(container, dict) else container
    return any(
        (depth > 0 and _holds(part, classes, depth - 1))
        if type(part) in (*_CONTAINERS, tuple)
        else part in classes
        if reach.is_a(part, type)
        else type(part) in classes
        for part in parts
    )


def _items(values: dict[str, dict[str, Any]]) -> list[tuple[str, str, Any]]:
    return [(module, place, value) for module, chosen in values.items() for place, value in chosen.items()]


def _is_refilled(value: Any) -> bool:
    """Whether a worker's own object of a module takes over the content: others there may refer to it."""
    kind = type(value)
    return kind in (*_CONTAINERS, object) or (
        bool(kind.__dictoffset__) and not any(SPECIAL & vars(base).keys() for base in kind.__mro__[:-1])
    )


def _content(value: Any) -> Any:
    return type(value)(value) if type(value) in _CONTAINERS else dict(reach.attributes(value))


def _used() -> reach.Names:
    """What the functions of `__main__` name, and the classes that are defined anew when they are."""
    space = vars(sys.modules["__main__"])
    used = reach.named(space)
    statements = [fork_classes.statement(value) for value in list(space.values()) if isinstance(value, type)]
    more = [reach.names(code) for code in statements if code is not None]
    return reach.Names(used.globals.union(*(m.globals for m in more)), used.all.union(*(m.all for m in more)))


def _wanted(used: reach.Names) -> dict[str, Any]:
    """Functions, classes and modules, and the globals that the functions name, methods and nested ones included."""
    # Who has the module itself in hand takes them as its attributes.
    names = used.globals | used.all if "__main__" in used.all else used.globals
    return {
        name: value
        for name, value in list(vars(sys.modules["__main__"]).items())
        if name not in _NOT_CONTENT and (name in names or _is_defined(name, value) or name.startswith("__"))
    }


def _is_defined(name: str, value: Any) -> bool:
    """Code, or what a decorator has made of it."""
    if reach.is_a(value, _CODE):
        return True
    kept = reach.attributes(value)
    return kept.get("__module__") == "__main__" and kept.get("__qualname__") == name


def _in_order(wanted: dict[str, Any]) -> list[str]:
    """What is defined first, since what comes after may need it to be rebuilt."""
    return sorted(wanted, key=lambda name: not _is_defined(name, wanted[name]))


def dumps(obj: Any) -> bytes:
    """Pickles an object for a process that has this program's `__main__`."""
    buffer = io.BytesIO()
    ForkPickler(buffer, _wanted(_used()), by_name=True).dump(obj)
    return buffer.getvalue()

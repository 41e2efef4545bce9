"""What a worker gets of a program that forks: its `__main__`, rebuilt, not executed again, and what was set in its modules.

A program that forks relies on what `__main__` was at that moment: functions, classes, and globals set by code that must not
run twice. So the worker gets a `__main__` with all its functions, classes and imports and with the globals that any of them
names; what was set in the program's other modules (`reach` says which); and the process. All are written by one pickler, each
in a piece of its own, so that what two of them share stays one object, and one that cannot be rebuilt does not take the others
with it. Its use raises an error which says why. From then on everything of `__main__` travels by name, both ways, and so is one
and the same for `is`, `isinstance`, `except` and `global`; only lambdas and nested functions go by value, bound to it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import pickle
import sys
import types
from multiprocessing import context
from typing import IO, TYPE_CHECKING, Any

from . import fork_classes, inherited, reach
from .fork_pickler import GLOBALS, ForkPickler, Missing
from .fork_reducers import SPECIAL

if TYPE_CHECKING:
    from collections.abc import Callable

# These are the worker's own.
_NOT_CONTENT = {"__builtins__", "__spec__", "__loader__", "__cached__"}
_CODE = (types.FunctionType, type, types.ModuleType)
_CONTAINERS = (dict, list, set)
# To pickle what another thread changes meanwhile.
_ATTEMPTS = 4


# ---- in the parent ---------------------------------------------------------------------------------------------


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
        modules, values = reach.reached([process_obj, *arguments, *wanted.values()])
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


# In a pickle: the next part is what has this number as its persistent id.
_PART = pickle.BININT + b"%b" + pickle.BINPERSID + pickle.MEMOIZE + pickle.POP


# ---- in the worker ---------------------------------------------------------------------------------------------


def load(open_record: Callable[[], IO[bytes]], file: str | None = None) -> Any:
    """Becomes the program's process: rebuilds what was written, and returns the process object.

    `file` is where the script is on this machine, if that is another one. `open_record` gives what `dump` wrote; once more,
    where a piece cannot be rebuilt.
    """
    try:
        return _Rebuilding(open_record(), file, careful=False).run()
    except _FailedError as e:
        return _Rebuilding(open_record(), file, careful=True).run(e)


class _FailedError(Exception):
    """A piece could not be rebuilt."""


class _Rebuilding:
    """Of all pieces. `careful`, it goes on after one that fails, at a price for each."""

    def __init__(self, record: IO[bytes], file: str | None, *, careful: bool) -> None:
        self._file, self._careful = file, careful
        self._main = types.ModuleType("__main__")
        self._main.__dict__["__builtins__"] = sys.modules["builtins"]
        sys.modules["__main__"] = sys.modules["__mp_main__"] = self._main
        self._pieces = _Pieces(record)
        self._modules = _Modules()
        self._unpickler = _Unpickler(self._pieces, self._modules)

    def run(self, _: Any = None) -> Any:
        """The process object. What a first try has made, and the files that it has open, live as long as its error."""
        while True:
            kind, place = self._pieces.next()
            value = self._next_careful(kind, place) if self._careful else self._next(kind)
            if kind == "process":
                return value
            # Who does not take it stays as it is at import.
            with contextlib.suppress(Exception):
                getattr(self, f"_take_{kind}")(place, value)

    def _next(self, kind: str) -> Any:
        try:
            return self._unpickler.load()
        except Exception as e:
            if kind == "process":
                raise
            raise _FailedError from e

    def _next_careful(self, kind: str, place: Any) -> Any:
        """In place of what fails, and of every part of it that others may refer to, something that says so."""
        if kind == "process":
            return self._unpickler.load()
        known = len(self._unpickler.memo.copy())
        piece = self._pieces.hold()
        try:
            return self._unpickler.load()
        except Exception as e:  # noqa: BLE001 - the program's own code may run here
            what = f"global {place!r} of __main__" if kind == "main" else f"{kind} {place}"
            missing = Missing(f"{what} could not be rebuilt in the worker: {type(e).__name__}: {e}")
            import pickletools  # noqa: PLC0415 - rarely needed

            # The parts have numbers, in their order: those that were not made get their places.
            parts = sum(code.name == "MEMOIZE" for code, _, _ in pickletools.genops(piece))
            made = self._unpickler.memo.copy()
            self._resume([made.get(number, missing) for number in range(known + parts)])
            return missing

    def _resume(self, parts: list[Any]) -> None:
        """With an unpickler that knows these parts; one that is just given a memo does not count what is in it."""
        self._unpickler = _Unpickler(self._pieces, self._modules, parts)
        steps = (_PART % number.to_bytes(4, "little") for number in range(len(parts)))
        self._pieces.instead(b"".join([pickle.PROTO, b"\x05", *steps, pickle.NONE, pickle.STOP]))
        self._unpickler.load()

    def _take_main(self, name: str, value: Any) -> None:
        self._main.__dict__[name] = self._file if name == "__file__" and self._file is not None else value

    def _take_import(self, _: None, modules: dict[str, str | None]) -> None:
        for name, file in modules.items():
            with contextlib.suppress(Exception):  # what needs it says so
                _import(name, file)

    def _take_module(self, place: tuple[str, str], value: Any) -> None:
        self._modules.set(*place, value)

    def _take_content(self, pid: tuple[str, str, type], content: Any) -> None:
        module, place, _ = pid
        if not isinstance(content, Missing):
            own = self._modules.own(pid)
            _refill(own, content)
            if module == "__main__":  # where a definition may have put another one
                self._modules.set(module, place, own)
        elif module == "__main__":
            self._main.__dict__[place] = content

    def _take_inherited(self, name: str, value: Any) -> None:
        inherited.take(name, value)


def _import(name: str, file: str | None) -> None:
    """A module by its name; one that the program has loaded by its file in the same way."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as e:
        spec = importlib.util.spec_from_file_location(name, file) if file is not None and e.name == name else None
        if spec is None or spec.loader is None:
            raise
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise


def load_object(file: IO[bytes]) -> Any:
    """An object, bound to the `__main__` of this process."""
    return _Unpickler(file, _Modules()).load()


class _Pieces:
    """A file for an unpickler, which is at its end where a piece is."""

    def __init__(self, record: IO[bytes]) -> None:
        self._record = self._file = record
        self._left = 0

    def next(self) -> tuple[str, Any]:
        """Goes to the next one; what it is, and what it stands for."""
        self._file.read(self._left)
        self._file = self._record
        kind, place, self._left = pickle.load(self._record)  # noqa: S301 - its seal was checked
        return kind, place

    def hold(self) -> bytes:
        """All of the piece, which can still be read."""
        piece = self._record.read(self._left)
        self._file = io.BytesIO(piece)
        return piece

    def instead(self, piece: bytes) -> None:
        """Another piece, before the next one."""
        self._file, self._left = io.BytesIO(piece), len(piece)

    def read(self, size: int) -> bytes:
        return self._took(self._file.read(min(size, self._left)))

    def readline(self) -> bytes:
        return self._took(self._file.readline(self._left))

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _took(self, data: bytes) -> bytes:
        self._left -= len(data)
        return data


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, modules: _Modules, parts: list[Any] | None = None) -> None:
        super().__init__(file)
        self._modules, self._parts = modules, parts or []

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, int):
            return self._parts[pid]
        return sys.modules["__main__"].__dict__ if pid == GLOBALS else self._modules.own(pid)


class _Modules:
    """The program's modules as they were imported here."""

    def __init__(self) -> None:
        self._own: dict[tuple[str, str], Any] = {}
        self._taken: set[int] = set()

    def own(self, pid: Any) -> Any:
        """The object at a place of a module; a new one where another place has the same, or there is none of this class."""
        module, place, kind = pid
        if (module, place) not in self._own:
            owner, name = self._find(module, place)
            found = vars(owner).get(name) if owner is not None else None
            if type(found) is not kind or id(found) in self._taken:
                found = kind.__new__(kind)
                self.set(module, place, found)
            self._own[module, place] = found
            self._taken.add(id(found))
        return self._own[module, place]

    def set(self, module: str, place: str, value: Any) -> None:
        """What was set there. A part that could not travel stays as it is at import."""
        owner, name = self._find(module, place)
        if owner is not None and not isinstance(value, Missing):
            (type if isinstance(owner, type) else object).__setattr__(owner, name, value)

    @staticmethod
    def _find(module: str, place: str) -> tuple[Any, str]:
        """Of `CLASS.NAME` the class, of `NAME` the module."""
        owner, _, name = place.rpartition(".")
        found = sys.modules.get(module)
        return (getattr(found, owner, None) if owner else found), name


def _refill(own: Any, content: Any) -> None:
    if isinstance(own, list):
        own[:] = content
    elif isinstance(own, set):
        own.clear()
        own.update(content)
    elif content or isinstance(own, dict):
        space = own if isinstance(own, dict) else vars(own)
        # What could not travel stays as it is at import.
        kept = {key: space[key] for key, value in content.items() if isinstance(value, Missing) and key in space}
        space.clear()
        space.update(content | kept)

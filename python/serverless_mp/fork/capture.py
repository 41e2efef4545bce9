"""The parent's side of a start under `fork`: what the worker needs to become a process of the program, in pieces.

All are written by one pickler, with one memo: what two of them share stays one object. A piece that cannot be written harms no
other. README.md tells what travels, and why.
"""

from __future__ import annotations

import abc
import functools
import io
import os
import pickle
import sys
import types
import warnings
from functools import partial  # by its name: a program may put a mock in its place
from io import BytesIO  # by its name: a program may put a mock in its place
from multiprocessing import context
from pickle import dump as dump_one  # by its name: a program may put a mock in its place
from typing import Any

from serverless_mp.program import BEGUN, modules, tools

from . import ForkStateWarning, baseline, classes, enclosing, interpreter_state, objects, places
from . import globals as names_in_code
from .caches import Cached
from .globals import is_a
from .missing import Missing
from .pickler import OBJECT, TYPE, ForkPickler, TooLargeError

# These are the worker's own.
_NOT_CONTENT = {"__builtins__", "__spec__", "__loader__", "__cached__", "__warningregistry__"}
_CODE = (types.FunctionType, type, types.ModuleType)
_FUNCTIONS = (types.FunctionType, Cached)
_INSIDE = ((places.CELL,), (places.ATTRIBUTES,), (places.BASE,))
# To pickle what another thread changes meanwhile; and what turns out to hold what cannot be pickled.
_ATTEMPTS = 4
# What is carried for the sake of an installed module, of a signal's handler, or of what no function names: objects, and bytes.
_MOST_OBJECTS = 20_000
_MOST_BYTES = {"installed": 8 << 20, "unnamed": 1 << 20, "state": 8 << 20}
_MOST_BYTES_INSTALLED = 64 << 20


def dump(process_obj: Any, file: Any) -> None:
    """Writes them all. While the process is launched, so that locks and queues can come along.

    Raises what pickle raises for a target that cannot be pickled.
    """
    popen: Any = context.get_spawning_popen()
    program = _Program()
    writing = _Writing(program, process_obj)
    try:
        writing.run()
    except Exception:  # noqa: BLE001 - something cannot travel; what, is found by looking at each
        writing = _write_carefully(popen, program, process_obj)
    for head, parts in writing.pieces:
        dump_one((*head, sum(map(len, parts))), file)
        for part in parts:
            file.write(part)
    _tell(writing.told)


def _write_carefully(popen: Any, program: _Program, process_obj: Any) -> _Writing:
    by_protocol: frozenset[int] = frozenset()
    for _ in range(_ATTEMPTS):
        popen.forget_what_was_pickled()
        writing = _Writing(program, process_obj, careful=True, by_protocol=by_protocol)
        writing.run()
        # What has a rule of its own, and holds what cannot be pickled, may do without it.
        more = (
            enclosing.of(writing.left_out, [*program.values(), process_obj]) - by_protocol if writing.left_out else frozenset()
        )
        if not more:
            break
        by_protocol |= more
    return writing


class _Parts(list[bytes]):
    """A file for a pickler, which writes large content in one part."""

    def write(self, data: Any) -> int:
        self.append(bytes(data))
        return len(self[-1])


class _Program:
    """The modules of the program at this moment, and the places in them."""

    def __init__(self) -> None:
        own = modules.own_modules()
        self.main = sys.modules["__main__"]
        self.made = {name: module for name, module in own.items() if _must_be_made(name, module)}
        self.imported = {name: module for name, module in own.items() if name not in self.made}
        self.by_value = frozenset(["__main__", *self.made])
        self.installed: list[tuple[str, places.Path, Any]] = []
        self.removed: list[tuple[str, places.Path]] = []
        # Persistent ids, by id. What a library owns it owns wherever a module of the program has it, too.
        self.owned: dict[int, Any] = baseline.of_others()
        for name, record in baseline.records(baseline.list_modules()).items():
            self.owned.update(record.owned)
            for path, value in record.different().items():
                self.installed.append((name, path, value))
                if is_a(value, _FUNCTIONS):
                    self.owned.setdefault(~id(value), (name, path))
            self.removed += [(name, tuple(path.split("."))) for path in record.removed]
        # Of each imported module: the names in it and in its classes, with the shape of what its import made; and its places.
        self.names: list[tuple[str, places.Path, dict[str, Any]]] = []
        self.places: list[tuple[str, places.Path, Any]] = []
        for name, module in self.imported.items():
            self._look_at(name, module)
        self.wanted = _wanted(self.main)
        self.used = _used([self.main, *own.values()])

    def values(self) -> list[Any]:
        """Everything that may be written."""
        made = [value for module in self.made.values() for value in vars(module).values()]
        return [*self.wanted.values(), *made, *(value for _, _, value in [*self.places, *self.installed])]

    def _look_at(self, name: str, module: Any) -> None:
        if not is_a(module, types.ModuleType):
            self._own(name, (), module)
            self.places.append((name, (), module))
            return
        is_made_by = partial(_is_made_by, getattr(module, "__file__", None))
        travelling = set()
        for path, value in places.places_of(module, is_made_by=is_made_by):
            self._own(name, path, value)
            if path[-2:-1] in _INSIDE and is_a(value, (types.FunctionType, type)):
                continue  # it comes with what holds it
            self.places.append((name, path, value))
            travelling.add(path)
        for above, space in places.spaces_of(module):
            shapes = {key: None if (*above, key) in travelling else places.shape(part) for key, part in list(space.items())}
            self.names.append((name, above, {key: shapes[key] for key in shapes.keys() - places._OF_IMPORT}))
            if sys.modules.get(vars(module).get("__name__", "")) is not module:
                # What it defines is not found under the module's name.
                defined = {key: part for key, part in list(space.items()) if is_a(part, (type, types.FunctionType))}
                for key, part in defined.items():
                    path = (*above, key)
                    if path not in travelling and places.home(part) == (module.__name__, ".".join(path)):
                        self.owned.setdefault(id(part), (TYPE, name, path))

    def _own(self, module: str, path: places.Path, value: Any) -> None:
        kind = type(value)
        if path and path[-1] == places.ATTRIBUTES:
            return  # a part of what the object has
        for step, part in places.parts_of(value):
            if part is not None:
                self.owned.setdefault(~id(part), (module, (*path, step)))
        if is_a(value, _FUNCTIONS):
            self.owned.setdefault(~id(value), (module, path))
        elif path[-2:-1] == (places.BASE,):
            self.owned.setdefault(id(value), (TYPE, module, path))
        elif objects.is_refilled(value):
            if "<locals>" in kind.__qualname__:
                self.owned.setdefault(id(kind), (TYPE, module, (*path, places.TYPE)))
            self.owned.setdefault(id(value), (OBJECT, module, path, kind))


def _must_be_made(name: str, module: Any) -> bool:
    """Whether a worker cannot import it, or is not to."""
    if not is_a(module, types.ModuleType):
        return False
    file = getattr(module, "__file__", None)
    if modules.is_being_imported(module) or modules.starts_processes(name):
        return True
    if file is None:
        return "__path__" not in vars(module)
    return not _exists(file) or _has_changed(module)


def _has_changed(module: Any) -> bool:
    """Whether its source is another one than that which was imported: its byte code notes the size and time of it.

    Without byte code, any that was written since the program began may be.
    """
    cached, file = str(getattr(module, "__cached__", "")), str(module.__file__)
    try:
        now = os.stat(file)
    except (OSError, ValueError):  # in an archive
        return False
    try:
        with io.open(cached, "rb") as f:  # noqa: UP020 - the program may have replaced the other
            head = f.read(16)
    except (OSError, TypeError, ValueError):
        return now.st_mtime > BEGUN
    flags, time, size = (int.from_bytes(head[place : place + 4], "little") for place in (4, 8, 12))
    return flags == 0 and (time != int(now.st_mtime) & 0xFFFFFFFF or size != now.st_size & 0xFFFFFFFF)


def _exists(file: str) -> bool:
    """A file, or a member of an archive."""
    while file and not os.path.exists(file):
        file, _, member = file.rpartition(os.sep)
        if not member or os.path.isdir(file):
            return False
    return bool(file)


def _is_made_by(file: str | None, function: types.FunctionType) -> bool:
    """Whether a statement of the module's file is this function's, and no decorator has put another one in its place."""
    code = function.__code__
    return code.co_qualname == function.__qualname__ and (file is None or _same_file(code.co_filename, file))


@functools.cache
def _same_file(one: str, other: str) -> bool:
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def _registered(program: _Program) -> list[tuple[type, list[type]]]:
    """Classes that the program has registered with abstract ones, its own or others'."""
    own = {*program.imported, *program.made, "__main__"}
    found = []
    for module in [one for one in list(sys.modules.values()) if is_a(one, types.ModuleType)]:
        for value in list(vars(module).values()):
            if is_a(value, abc.ABCMeta) and value.__module__ == module.__name__ and value.__module__ != "__main__":
                others = [one for reference in abc._get_dump(value)[0] if (one := reference()) is not None]  # type: ignore[attr-defined]
                mine = [one for one in others if one.__module__ in own or value.__module__ in own]
                if mine:
                    found.append((value, mine))
    return found


class _Writing:
    """Of all pieces: what each is and stands for, and what the pickler wrote."""

    def __init__(
        self, program: _Program, process_obj: Any, *, careful: bool = False, by_protocol: frozenset[int] = frozenset()
    ) -> None:
        self._program, self._process = program, process_obj
        self._careful = careful
        self.pieces: list[tuple[tuple[str, Any], list[bytes]]] = []
        # What could not travel, by its id; and what is to be told of it.
        self.left_out: dict[int, Any] = {}
        self.told: list[str] = []
        self._installed_bytes = 0
        self._parts = _Parts()
        self._new_pickler = partial(
            ForkPickler, self._parts, program.by_value, careful=careful, owned=program.owned, by_protocol=by_protocol
        )
        self._pickler = self._new_pickler()

    def run(self) -> None:
        """Writes them, in the order in which a worker needs them."""
        self._add("modules", None, self._plan())
        for name, value in interpreter_state.before():
            self._add("state", name, value)
        for module, path, names in self._program.names:
            self._add("names", (module, path), names)
        # All of them before anything is set in one: an import may set things in others.
        self._add("imports", None, list(dict.fromkeys(name for name, _, _ in self._program.installed)))
        self._add_made()
        self._add_imported()
        self._add("registered", None, _registered(self._program))
        for name, value in interpreter_state.now():
            self._add("state", name, value)
        self._add("process", None, self._process, f"an argument of process {self._process._name!r}")
        if id(self._process._target) in self._pickler.left_out:
            raise self._pickler.left_out[id(self._process._target)]
        # Last, and nothing refers to it: a test runner's handler may know all of its tests.
        for name, value in interpreter_state.handlers():
            self._add("state", name, value, f"the handler of {name}", limit="state")
        self._add("end", None, None)
        self.left_out = self._pickler.left_out

    def _add_made(self) -> None:
        """`__main__` and the other modules that come by value."""
        program = self._program
        filled = _filled_by_definitions(program.wanted)
        for place, value in filled.items():
            path = tuple(place.split("."))
            program.owned.setdefault(id(value), (OBJECT, "__main__", path, type(value)))
        for name in _in_order(program.wanted):
            self._add_global("__main__", name, program.wanted[name])
        for module in program.made:
            space = {name: value for name, value in list(vars(program.made[module]).items()) if name not in _NOT_CONTENT}
            for name in _in_order(space, module):
                self._add_global(module, name, space[name])
        for place, value in filled.items():
            self._add_place("__main__", tuple(place.split(".")), value)

    def _add_imported(self) -> None:
        """The places of modules that a worker imports: the program's own, and what differs in installed ones."""
        for module, path, value in self._program.places:
            self._add_place(module, path, value)
        for module, path in self._program.removed:
            self._add("removed", (module, path), None)
        for module, path, value in self._program.installed:
            self._add_place(module, path, value, limit="installed")

    def _plan(self) -> dict[str, Any]:
        program = self._program
        imported = {name: getattr(module, "__file__", None) for name, module in program.imported.items()}
        known = [value for value in program.wanted.values() if is_a(value, types.ModuleType)]
        return {
            "made": {name: getattr(module, "__file__", None) for name, module in program.made.items()},
            "main_known_as": getattr(getattr(program.main, "__spec__", None), "name", None),
            "imported": imported,
            "further_names": modules.further_names(),
            "submodules": names_in_code.submodules(known, program.used.all),
        }

    def _add_global(self, module: str, name: str, value: Any) -> None:
        limit = None if self._is_named(name) or _is_defined(name, value, module) else "unnamed"
        self._add("global", (module, name), value, f"global {name!r} of {module}", limit=limit)

    def _add_place(self, module: str, path: places.Path, value: Any, limit: str | None = None) -> None:
        name = ".".join(path)
        subject = f"{name} of {module}"
        if limit is None and path and not self._is_named(path[0]):
            limit = "unnamed"
        pid = self._program.owned.get(id(value))
        if pid is not None and pid[:3] == (OBJECT, module, path):
            self._add("content", (module, path), (value, objects.whole(value)), subject, limit=limit)
        else:
            self._add("place", (module, path), value, subject, limit=limit)

    def _is_named(self, name: str) -> bool:
        return name in self._program.used.all or name.startswith("__")

    def _add(self, kind: str, place: Any, value: Any, subject: str = "", *, limit: str | None = None) -> None:
        key = (limit, place, id(value))
        if limit is not None and key in _too_large and not is_a(value, classes.CONTAINERS):
            return self._leave_out(kind, place, value, subject, _too_large[key], limit)
        self._pickler.subject = subject or f"{kind} {place}"
        if limit is None and not self._careful:
            self._pickler.dump(value)
            return self._take(kind, place)
        mark, count = self._mark(), self._pickler.count_containers()
        is_deep = False
        for attempt in range(_ATTEMPTS):
            try:
                self._pickler.left = _MOST_OBJECTS if limit is not None else None
                if is_deep:
                    self._pickler.dump_in_turn(value, is_content=kind == "content")
                else:
                    self._pickler.dump(value)
                self._pickler.left = None
                self._check_size(limit)
                self._note_if_left_out(kind, place, value, subject)
                return self._take(kind, place)
            except Exception as e:
                self._go_back(mark, count)
                if not is_deep and (is_a(e, RecursionError) or is_a(e.__cause__, RecursionError)):
                    is_deep = True
                    continue
                if type(e) is RuntimeError and attempt < _ATTEMPTS - 1:
                    continue  # another thread may just have changed a container
                if kind == "process" or (limit is None and not self._careful):
                    raise
                if limit is not None and is_a(e, TooLargeError):
                    _too_large[key] = str(e)
                return self._leave_out(kind, place, value, subject, f"{type(e).__name__}: {e}", limit)
        return None

    def _note_if_left_out(self, kind: str, place: Any, value: Any, subject: str) -> None:
        """Tells of a global or an attribute that functions name, and of which nothing could be written."""
        if kind in {"global", "place"} and type(value).__module__.partition(".")[0] not in _OF_ONE_PROCESS:
            name = place[1] if kind == "global" else place[1][-1]
            error = self._pickler.left_out.get(id(value))
            if error is not None and self._is_named(name):
                self.told.append(f"{subject} ({type(value).__qualname__}): {error}")

    def _take(self, kind: str, place: Any) -> None:
        self.pieces.append(((kind, place), [*self._parts]))
        self._parts.clear()

    def _leave_out(self, kind: str, place: Any, value: Any, subject: str, why: str, limit: str | None) -> None:
        self._parts.clear()
        if limit == "installed":
            # As at import: what is no value at all never stands inside of a library.
            owner = value[0] if kind == "content" else value
            names = {path[-1] for _, path, other in self._program.installed if other is owner}
            if any(map(self._is_named, names)) and type(value).__module__.partition(".")[0] not in _OF_ONE_PROCESS:
                self.told.append(f"{subject} stays as at import ({why})")
            return
        if limit == "unnamed":
            why += "; no function of the program names it"
        elif limit is None and subject:
            self.told.append(f"{subject}: {why}")
        if kind == "content":
            kind, value = "place", value[0]
        missing = Missing(f"{subject} could not travel to the worker: {why}", type(value).__qualname__)
        self._pickler.dump(missing)
        self._take(kind, place)

    def _check_size(self, limit: str | None) -> None:
        if limit is None:
            return
        size = sum(map(len, self._parts))
        if size > _MOST_BYTES[limit]:
            message = f"its {size >> 20} MB are more than are carried to a worker for its sake"
            raise TooLargeError(message)
        if limit == "installed":
            self._installed_bytes += size
            if self._installed_bytes > _MOST_BYTES_INSTALLED:
                message = "the state of installed modules is too large"
                raise TooLargeError(message)

    def _mark(self) -> int:
        """How many objects the memo has: what is written for it, a worker reads as a piece of its own."""
        token: list[Any] = []
        self._pickler.dump(token)
        self._take("token", None)
        # Once more it is only a reference, with its number.
        self._pickler.dump(token)
        number = pickle_number(b"".join(self._parts))
        self._parts.clear()
        return number + 1

    def _go_back(self, mark: int, count: int) -> None:
        """To what was written when there were so many objects in the memo, and so many containers to be filled."""
        old = self._pickler
        old_memo = old.memo.copy()
        self._parts.clear()
        self._pickler = self._new_pickler()
        self._pickler.memo = {key: entry for key, entry in old_memo.items() if entry[0] < mark}
        self._pickler.take_over(old, count)


# What was found to be too large, and why: it is not tried at each start.
_too_large: dict[Any, str] = {}


def pickle_number(data: bytes) -> int:
    """The memo's number that a pickle of nothing but a reference names."""
    after_protocol = data[2:]
    if after_protocol[:1] == pickle.BINGET:
        return after_protocol[1]
    return int.from_bytes(data[-5:-1], "little")  # of LONG_BINGET, in a frame


_told: set[str] = set()
# Of no use in a forked process of CPython either.
_OF_ONE_PROCESS = ("asyncio", "concurrent", "multiprocessing", "serverless_mp", "threading")
_NOT_PROGRAM = ("serverless_mp", "multiprocessing", "concurrent")


def _tell(subjects: list[str]) -> None:
    """Once: what the worker does not get of what the program's functions name."""
    new = [subject for subject in subjects if subject not in _told]
    if new:
        _told.update(new)
        shown = "; ".join(new[:5]) + (f"; and {len(new) - 5} more" if len(new) > 5 else "")  # noqa: PLR2004 - a line's worth
        message = f"serverless_mp: not all of this program reaches a forked process: {shown}"
        warnings.warn(message, ForkStateWarning, stacklevel=_level_of_program())


def _level_of_program() -> int:
    """How far above the caller the program's own code is, for a warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_PROGRAM:
        level, frame = level + 1, frame.f_back
    return level


# ---- `__main__`, and what else is made by value ----------------------------------------------------------------


def _filled_by_definitions(wanted: dict[str, Any]) -> dict[str, Any]:
    """By place: containers that the definition of classes fills once more, in a worker. They are there, empty, before."""
    anew = [value for value in wanted.values() if is_a(value, type) and classes.statement(value)]
    if not anew:
        return {}
    found = {name: value for name, value in wanted.items() if type(value) in classes.CONTAINERS and _holds(value, anew)}
    return found | classes.registers(anew)


def _holds(container: Any, kinds: list[type], depth: int = 3) -> bool:
    """Whether some of these classes, or objects of theirs, are in it."""
    parts = [*container.values(), *container] if isinstance(container, dict) else container
    return any(
        (depth > 0 and _holds(part, kinds, depth - 1))
        if type(part) in (*classes.CONTAINERS, tuple)
        else part in kinds
        if is_a(part, type)
        else type(part) in kinds
        for part in parts
    )


def _used(own: list[Any]) -> names_in_code.Names:
    """What functions of the program name, and the classes that are defined anew when they are."""
    found = [names_in_code.named(vars(module)) for module in own if is_a(module, types.ModuleType)]
    space = vars(sys.modules["__main__"])
    statements = [classes.statement(value) for value in list(space.values()) if isinstance(value, type)]
    found += [names_in_code.names(code) for code in statements if code is not None]
    return names_in_code.Names(
        frozenset[str]().union(*(m.globals for m in found)),
        frozenset[str]().union(*(m.globals | m.all for m in found)),
    )


def _wanted(main: Any) -> dict[str, Any]:
    space = list(vars(main).items())
    return {name: value for name, value in space if name not in _NOT_CONTENT and not tools.is_of_tool(value)}


def _is_defined(name: str, value: Any, module: str = "__main__") -> bool:
    """Code, or what a decorator has made of it."""
    if is_a(value, _CODE):
        return True
    kept = names_in_code.attributes(value)
    return kept.get("__module__") == module and kept.get("__qualname__") == name


def _in_order(space: dict[str, Any], module: str = "__main__") -> list[str]:
    """What is defined first, since what comes after may need it to be rebuilt."""
    return sorted(space, key=lambda name: not _is_defined(name, space[name], module))


def dumps(obj: Any) -> bytes:
    """Pickles an object for a process that has this program's `__main__`."""
    buffer = BytesIO()
    ForkPickler(buffer, by_name=True).dump(obj)
    return buffer.getvalue()

"""The parent's side of a start under `fork`: the state that the worker needs to become a process of the program, in pieces.

One pickler with one memo writes all pieces, so an object shared by two pieces stays one object. A piece that cannot be written
does not affect the others. README.md tells what is transferred, and why.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import types
import warnings
from functools import partial  # by its name: a program may put a mock in its place
from io import BytesIO  # by its name: a program may put a mock in its place
from multiprocessing import context
from pickle import dump as dump_one  # by its name: a program may put a mock in its place
from typing import Any

from serverless_mp.program import modules
from serverless_mp.program.introspect import attributes, is_a, module_of_class

from . import ForkStateWarning, classes, enclosing, interpreter_state, names_in_code, objects, places, traces
from .missing import Missing
from .pickler import OBJECT, ForkPickler, TooLargeError
from .survey import NOT_CONTENT, Program, registered

_CODE = (types.FunctionType, type, types.ModuleType)
# Attempts to pickle what another thread changes meanwhile, or what turns out to hold an unpicklable object.
_ATTEMPTS = 4
# Limits, in objects and in bytes, for an installed module, a signal handler, and globals that no function names.
_MOST_OBJECTS = 20_000
_MOST_BYTES = {"installed": 8 << 20, "unnamed": 1 << 20, "state": 8 << 20}
_MOST_BYTES_INSTALLED = 64 << 20


def dump(process_obj: Any, file: Any) -> None:
    """Writes all pieces. Must be called while the process is launched, so that locks and queues can be transferred.

    Raises the error of pickle for a target that cannot be pickled.
    """
    with traces.paused():
        writing = _written(process_obj)
    for head, parts in writing.pieces:
        dump_one((*head, sum(map(len, parts))), file)
        for part in parts:
            file.write(part)
    _tell(writing.told)


def _written(process_obj: Any) -> _Writing:
    popen: Any = context.get_spawning_popen()
    program = Program()
    writing = _Writing(program, process_obj)
    with contextlib.suppress(Exception):  # something cannot be pickled; the careful writing finds it
        writing.run()
        if not writing.empty:
            return writing
        program.disown(writing.empty)
    return _write_carefully(popen, program, process_obj)


def _write_carefully(popen: Any, program: Program, process_obj: Any) -> _Writing:
    by_protocol: frozenset[int] = frozenset()
    for _ in range(_ATTEMPTS):
        popen.forget_what_was_pickled()
        writing = _Writing(program, process_obj, careful=True, by_protocol=by_protocol)
        writing.run()
        if writing.empty:
            program.disown(writing.empty)
            continue
        # An object with a rule of its own may do without a part that cannot be pickled.
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


class _Writing:
    """Writes all pieces: the kind and subject of each, and the bytes of the pickler."""

    def __init__(
        self, program: Program, process_obj: Any, *, careful: bool = False, by_protocol: frozenset[int] = frozenset()
    ) -> None:
        self._program, self._process = program, process_obj
        self._careful = careful
        self.pieces: list[tuple[tuple[str, Any], list[bytes]]] = []
        # `left_out`: objects that could not be transferred, by id. `told`: the warnings about them.
        self.left_out: dict[int, Any] = {}
        self.told: list[str] = []
        # The ids of objects of installed modules whose content could not be written.
        self._lost: set[int] = set()
        self._installed_bytes = 0
        self._parts = _Parts()
        self._new_pickler = partial(
            ForkPickler, by_value=program.by_value, careful=careful, owned=program.owned, by_protocol=by_protocol
        )
        self._pickler = self._new_pickler(self._parts)
        self._trial: ForkPickler | None = None

    def run(self) -> None:
        """Writes the pieces in the order in which a worker needs them."""
        self._add("modules", None, self._plan())
        for name, value in interpreter_state.before():
            self._add("state", name, value)
        for module, path, names in self._program.names:
            self._add("names", (module, path), names)
        # All imports come before any value is set: an import may set values in other modules.
        self._add("imports", None, list(dict.fromkeys(name for name, _, _ in self._program.installed)))
        self._add_made()
        self._add_imported()
        self._add("registered", None, registered(self._program))
        for name, value in interpreter_state.now():
            self._add("state", name, value)
        self._add("process", None, self._process, f"an argument of process {self._process._name!r}")
        if id(self._process._target) in self._pickler.left_out:
            raise self._pickler.left_out[id(self._process._target)]
        # Last, and nothing refers to them: the handler of a test runner may refer to all of its tests.
        for name, value in interpreter_state.handlers():
            self._add("state", name, value, f"the handler of {name}", limit="state")
        self._add("end", None, None)
        self.left_out = self._pickler.left_out

    @property
    def empty(self) -> set[int]:
        """The ids of objects that were referred to and have no content, which must not happen."""
        return self._lost & self._pickler.referred

    def _add_made(self) -> None:
        """Adds `__main__` and the other modules that come by value."""
        program = self._program
        filled = _filled_by_definitions(program.wanted)
        for place, value in filled.items():
            path = tuple(place.split("."))
            program.owned.setdefault(id(value), (OBJECT, "__main__", path, type(value)))
        for name in _in_order(program.wanted, "__main__"):
            self._add_global("__main__", name, program.wanted[name])
        for module in program.made:
            space = {name: value for name, value in list(vars(program.made[module]).items()) if name not in NOT_CONTENT}
            for name in _in_order(space, module):
                self._add_global(module, name, space[name])
        for place, value in filled.items():
            self._add_place("__main__", tuple(place.split(".")), value)

    def _add_imported(self) -> None:
        """Adds the places of modules that a worker imports: those of the program, and the differences in installed modules."""
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
            is_referred = id(value) in self._pickler.referred
            self._add("content", (module, path), (value, objects.whole(value)), subject, limit=limit)
            if not is_referred:  # but by its own content
                self._pickler.referred.discard(id(value))
        else:
            self._add("place", (module, path), value, subject, limit=limit)

    def _is_named(self, name: str) -> bool:
        return name in self._program.used.all or name.startswith("__")

    def _add(self, kind: str, place: Any, value: Any, subject: str = "", *, limit: str | None = None) -> None:
        self._pickler.subject = subject or f"{kind} {place}"
        outcome = _outcome(kind, place, value, limit)
        if outcome is not None and (why := outcome or self._why_not(value)):
            return self._has_failed(kind, place, value, subject, why, limit)
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
                _note_outcome(kind, place, value, limit, None)
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
                return self._has_failed(kind, place, value, subject, f"{type(e).__name__}: {e}", limit)
        return None

    def _has_failed(self, kind: str, place: Any, value: Any, subject: str, why: str, limit: str | None) -> None:
        """Notes that a value cannot be written, and leaves it out."""
        may_shrink = kind == "content" or is_a(value, classes.CONTAINERS)
        is_for_good = why.startswith(TooLargeError.__name__) and not may_shrink
        _note_outcome(kind, place, value, limit, why if is_for_good else "")
        self._leave_out(kind, place, value, subject, why, limit)

    def _why_not(self, value: Any) -> str:
        """Why a value cannot be written, if a trial shows it: to go back takes longer when much was written."""
        if self._trial is None:
            self._trial = self._new_pickler(_Parts())
        self._trial.subject, self._trial.left = self._pickler.subject, _MOST_OBJECTS
        popen: Any = context.get_spawning_popen()
        before = popen.count_pickled()
        try:
            self._trial.dump(value)
        except RuntimeError:  # it is too deep, or just being changed
            return ""
        except Exception as e:  # noqa: BLE001 - whatever it is
            return "" if is_a(e.__cause__, RecursionError) else f"{type(e).__name__}: {e}"
        finally:
            popen.forget_what_was_pickled(before)
            self._trial.clear_memo()
        return ""

    def _note_if_left_out(self, kind: str, place: Any, value: Any, subject: str) -> None:
        """Records a warning about a global or attribute that functions name and that could not be written at all."""
        if kind in {"global", "place"} and module_of_class(type(value)).partition(".")[0] not in _OF_ONE_PROCESS:
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
            # The place keeps its imported value: a `Missing` is never put into a library.
            owner = _owner(kind, value)
            self._lost.add(id(owner))
            names = {path[-1] for _, path, other in self._program.installed if other is owner}
            if any(map(self._is_named, names)) and module_of_class(type(value)).partition(".")[0] not in _OF_ONE_PROCESS:
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
        """The size of the memo. pickle hides it, so a token is pickled, which the worker reads as a piece of its own."""
        token: set[Any] = set()
        self._pickler.dump(token)
        self._take("token", None)
        # The second time only a reference is written, which contains the number.
        self._pickler.dump(token)
        number = pickle_number(b"".join(self._parts))
        self._parts.clear()
        return number + 1

    def _go_back(self, mark: int, count: int) -> None:
        """Returns to the state when the memo had `mark` objects and `count` containers were to be filled."""
        old = self._pickler
        old_memo = old.memo.copy()
        self._parts.clear()
        self._pickler = self._new_pickler(self._parts)
        self._pickler.memo = {key: entry for key, entry in old_memo.items() if entry[0] < mark}
        self._pickler.take_over(old, count)


# By limit and place: the id of the object that was to be written there last, and what became of it: None if it was written.
# Otherwise the reason, if it is not tried again, since it is too large, or ''.
_outcomes: dict[Any, tuple[int, str | None]] = {}


def _outcome(kind: str, place: Any, value: Any, limit: str | None) -> str | None:
    """What became of an object when it was to be written last; '' also for one of a library that was not tried yet."""
    last, outcome = _outcomes.get((limit, place), (0, None))
    if last == id(_owner(kind, value)):
        return outcome
    return "" if limit == "installed" else None


def _note_outcome(kind: str, place: Any, value: Any, limit: str | None, outcome: str | None) -> None:
    if limit is not None:
        _outcomes[limit, place] = (id(_owner(kind, value)), outcome)


def _owner(kind: str, value: Any) -> Any:
    """The object that is written; its content comes in a pair with it."""
    return value[0] if kind == "content" else value


def pickle_number(data: bytes) -> int:
    """The memo number in a pickle that consists of one reference."""
    after_protocol = data[2:]
    if after_protocol[:1] == pickle.BINGET:
        return after_protocol[1]
    return int.from_bytes(data[-5:-1], "little")  # of LONG_BINGET, in a frame


_told: set[str] = set()
# Objects of these packages are of no use in a process forked by CPython either.
_OF_ONE_PROCESS = ("asyncio", "concurrent", "multiprocessing", "serverless_mp", "threading")
_NOT_PROGRAM = ("serverless_mp", "multiprocessing", "concurrent")


def _tell(subjects: list[str]) -> None:
    """Warns, once, about objects that the program's functions name and that the worker does not get."""
    new = [subject for subject in subjects if subject not in _told]
    if new:
        _told.update(new)
        shown = "; ".join(new[:5]) + (f"; and {len(new) - 5} more" if len(new) > 5 else "")  # noqa: PLR2004 - a line's worth
        message = f"serverless_mp: not all of this program reaches a forked process: {shown}"
        warnings.warn(message, ForkStateWarning, stacklevel=_level_of_program())


def _level_of_program() -> int:
    """The number of frames between the caller and the program's own code, for a warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_PROGRAM:
        level, frame = level + 1, frame.f_back
    return level


# ---- `__main__`, and what else is made by value ----------------------------------------------------------------


def _filled_by_definitions(wanted: dict[str, Any]) -> dict[str, Any]:
    """The containers, by place, that a definition of classes fills again in a worker. They are transferred empty."""
    anew = [value for value in wanted.values() if is_a(value, type) and classes.statement(value)]
    if not anew:
        return {}
    found = {name: value for name, value in wanted.items() if type(value) in classes.CONTAINERS and _holds(value, anew)}
    return found | classes.registers(anew)


def _holds(container: Any, kinds: list[type], depth: int = 3) -> bool:
    """Whether a container holds one of these classes, or an object of one."""
    parts = [*container.values(), *container] if isinstance(container, dict) else container
    return any(
        (depth > 0 and _holds(part, kinds, depth - 1))
        if type(part) in (*classes.CONTAINERS, tuple)
        else part in kinds
        if is_a(part, type)
        else type(part) in kinds
        for part in parts
    )


def _is_defined(name: str, value: Any, module: str) -> bool:
    """Whether a value is code, or what a decorator has made of it."""
    if is_a(value, _CODE):
        return True
    kept, names = attributes(value), modules.OF_MAIN if module == "__main__" else (module,)
    return kept.get("__module__") in names and kept.get("__qualname__") == name


def _in_order(space: dict[str, Any], module: str) -> list[str]:
    """The names in the order of writing: definitions first, since later values may need them, and before these the module's
    name, which goes into them.
    """
    return sorted(space, key=lambda name: (name != "__name__", not _is_defined(name, space[name], module)))


def dumps(obj: Any) -> bytes:
    """Pickles an object for a process that has this program's `__main__`."""
    buffer = BytesIO()
    ForkPickler(buffer, by_name=True).dump(obj)
    return buffer.getvalue()

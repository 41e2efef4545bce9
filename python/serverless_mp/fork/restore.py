"""The worker's side of a start under `fork`: it becomes a process of the program, from the pieces that `capture` wrote."""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import pickle
import sys
import types
import warnings
from functools import partial  # by its name: a program may put a mock in its place
from io import BytesIO  # by its name: a program may put a mock in its place
from pickle import load as load_one  # by its name: a program may put a mock in its place
from typing import IO, TYPE_CHECKING, Any

from serverless_mp.program import bundle, main_module
from serverless_mp.program.introspect import is_a

from . import ForkStateWarning, caches, deep_structures, functions, interpreter_state, objects, place_access, places
from .missing import Missing, is_better
from .pickler import CONTAINER, COPY, GLOBALS, MODULE, OBJECT, SPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What code of the program, or of a library that is imported, may raise without an end of the worker.
_FAILURES = (Exception, SystemExit)


def load(record: IO[bytes], file: str | None = None) -> Any:
    """Turns this process into a process of the program: rebuilds what was written, and returns the process object.

    `file`: the path of the script on this machine, if it is another machine.
    """
    return _Rebuilding(record, file).run()


def load_object(file: IO[bytes]) -> Any:
    """Unpickles an object, bound to the `__main__` of this process."""
    return _Unpickler(file, _Owned()).load()


class _Rebuilding:
    """Reads all pieces. A part that cannot be rebuilt is replaced by `Missing`, and affects nothing else."""

    def __init__(self, record: IO[bytes], file: str | None) -> None:
        self._record, self._file = record, file
        self._owned = _Owned()
        self._source = _Source()
        self._unpickler: Any = _Unpickler(self._source, self._owned)
        self._process: Any = None
        # Steps to be run at the end, each with its subject for messages.
        self._later: list[tuple[str, Callable[[], Any]]] = []
        # Pieces that were read, kept in case a second try needs to count their memo entries.
        self._pieces: list[bytes] = []
        _make_module("__main__", file)
        sys.modules["__mp_main__"] = sys.modules["__main__"]
        main_module.follow()

    def run(self) -> Any:
        """Reads all pieces and returns the process object."""
        while True:
            kind, place, size = load_one(self._record)  # noqa: S301 - its seal was checked
            value = self._next(self._record.read(size), f"{kind} {place}" if place else kind)
            if type(value) is deep_structures.Steps:
                value = value.result()
            if kind == "end":
                self._finish()
                return self._process
            take = partial(getattr(self, f"_take_{kind}"), place, value)
            try:
                take()
            except _FAILURES:  # the program's own code may run here; what fails stays as imported
                if kind == "content":
                    self._later.append((f"{kind} {place}", take))

    def _finish(self) -> None:
        """Runs the steps that had to wait for attributes, such as those that a hash is computed from."""
        for subject, step in [*getattr(self._unpickler, "later", ()), *self._later]:
            try:
                step()
            except _FAILURES as e:  # the program's own code may run here; the object stays partly filled
                message = f"{subject} could not be rebuilt whole in the worker: {type(e).__name__}: {e}"
                warnings.warn(message, ForkStateWarning, stacklevel=2)
        functions.forget()
        interpreter_state.finish()

    def _next(self, piece: bytes, subject: str) -> Any:
        self._source.set(piece)
        if isinstance(self._unpickler, _Unpickler):
            try:
                value = self._unpickler.load()
            except _FAILURES:  # the program's own code may run here; the failing part is found below
                # Keeps the objects of the first try: their deletion might close a descriptor that the second try uses.
                made = self._unpickler.memo.copy()
                _first_tries.append(made)
                known = sum(map(_count_memo, self._pieces))
                memo = {number: value for number, value in made.items() if number < known}
                self._unpickler = _TolerantUnpickler(self._source, self._owned, memo)
                self._source.set(piece)
            else:
                self._pieces.append(piece)
                return value
        self._unpickler.subject = subject
        return self._unpickler.load()

    def _take_token(self, _: None, __: Any) -> None:
        """Does nothing: only the memo entry of a token counts."""

    def _take_process(self, _: None, process: Any) -> None:
        self._process = process

    def _take_modules(self, _: None, plan: dict[str, Any]) -> None:
        main = vars(sys.modules["__main__"])
        if plan["main_known_as"] is not None:
            main["__spec__"] = importlib.machinery.ModuleSpec(plan["main_known_as"], None, origin=main.get("__file__"))
        for name, file in plan["made"].items():
            _make_module(name, file, name)
        with silence():
            for name, file in plan["imported"].items():
                with contextlib.suppress(BaseException):  # the code that needs it reports the error
                    _import(name, file)
            for name, own in plan["further_names"].items():
                if own in sys.modules and name not in sys.modules:
                    _enter(name, sys.modules[own])
            for name in plan["submodules"]:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)

    def _take_imports(self, _: None, names: list[str]) -> None:
        for name in names:
            with contextlib.suppress(BaseException):  # the code that needs it reports the error
                _import_of(name)

    def _take_global(self, place: tuple[str, str], value: Any) -> None:
        module, name = place
        is_file = place == ("__main__", "__file__") and self._file is not None
        vars(sys.modules[module])[name] = self._file if is_file else value

    def _take_names(self, place: tuple[str, places.Path], names: dict[str, Any]) -> None:
        owner = place_access.find(*place)
        for name in set(vars(owner)).difference(names, places._OF_IMPORT):
            if not (name.startswith("__") and name.endswith("__")):
                place_access.remove(place[0], (*place[1], name))
        for name, shape in names.items():
            own = vars(owner).get(name)
            if shape is not None and places.shape(own) != shape:
                why = f"{name} of {place[0]} was defined again after its import, and could not travel to the worker"
                place_access.put(place[0], (*place[1], name), functions.remake(own, shape) or Missing(why))

    def _take_removed(self, place: tuple[str, places.Path], _: None) -> None:
        place_access.remove(*place)

    def _take_place(self, place: tuple[str, places.Path], value: Any) -> None:
        if is_a(value, Missing) and place[0] != "__main__":
            with contextlib.suppress(LookupError, AttributeError, ValueError, TypeError):
                if is_better(place_access.find(*place), value):
                    return
        _import_of(place[0])
        place_access.put(*place, value)

    def _take_content(self, place: tuple[str, places.Path], value: tuple[Any, Any]) -> None:
        own, content = value
        objects.refill_whole(own, content)
        if place[0] == "__main__":  # a definition may have put another object there
            place_access.put(*place, own)

    def _take_registered(self, _: None, classes: list[tuple[Any, list[type]]]) -> None:
        for cls, others in classes:
            for other in others:
                with contextlib.suppress(Exception):
                    cls.register(other)

    def _take_state(self, name: str, value: Any) -> None:
        interpreter_state.take(name, value)


# The objects that a first try created before a part of its piece failed.
_first_tries: list[Any] = []


def _count_memo(piece: bytes) -> int:
    """The number of memo entries that a pickle creates."""
    import pickletools  # noqa: PLC0415 - rarely needed

    return sum(code.name == "MEMOIZE" for code, _, _ in pickletools.genops(piece))


def _make_module(name: str, file: str | None, known_as: str | None = None) -> None:
    """Creates an empty module, whose content comes by value. `known_as`: the name in its specification."""
    module = types.ModuleType(name)
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    if file is not None:
        module.__file__ = file
    if known_as is not None:
        module.__spec__ = importlib.machinery.ModuleSpec(known_as, None, origin=file)
    _enter(name, module)


def _enter(name: str, module: Any) -> None:
    """Puts a module into `sys.modules` and into its package."""
    sys.modules[name] = module
    above, _, own = name.rpartition(".")
    if above in sys.modules:
        setattr(sys.modules[above], own, module)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Suppresses output of imports: the program's own import has already printed it."""
    saved = {}
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        with contextlib.suppress(OSError):  # a closed one stays closed
            saved[number] = os.dup(number)
            os.dup2(nothing, number)
    os.close(nothing)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        for number, kept in saved.items():
            os.dup2(kept, number)
            os.close(kept)


def _import(name: str, file: str | None) -> None:
    """Imports a module by name, or from its file if the program has loaded it that way."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as e:
        file = None if file is None else bundle.here(file)
        spec = importlib.util.spec_from_file_location(name, file) if file is not None and e.name == name else None
        if spec is None or spec.loader is None:
            raise
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise


def _import_of(name: str) -> Any:
    if name not in sys.modules:
        with silence():
            importlib.import_module(name)
    return sys.modules[name]


class _Source:
    """A file for an unpickler that holds one piece after the other."""

    def __init__(self) -> None:
        self._file = BytesIO()

    def set(self, piece: bytes) -> None:
        self._file = BytesIO(piece)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline()

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


class _Owned:
    """The objects at the places that pieces refer to. Each is found once, for all pieces."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, places.Path], Any] = {}
        self._taken: set[int] = set()
        self._containers: dict[int, Any] = {}

    def get(self, pid: Any) -> Any:
        """The object that a persistent id stands for."""
        what, module, *rest = pid
        if what == CONTAINER:
            return self._containers.setdefault(module, {} if rest[0] else [])
        if what in (COPY, SPACE):
            return module if what == COPY else vars(module)
        if what in (GLOBALS, MODULE):
            found = _import_of(module)
            return found if what == MODULE else vars(found)
        path = rest[0]
        if what != OBJECT:
            _import_of(module)
            return place_access.find(module, path)
        if (module, path) not in self._found:
            self._found[module, path] = self._find_or_make(module, path, rest[1])
        return self._found[module, path]

    def _find_or_make(self, module: str, path: places.Path, kind: type) -> Any:
        """The object at a place. Creates one if there is none of this class, or if another place has the same object."""
        _import_of(module)
        found: Any = None
        with contextlib.suppress(LookupError, AttributeError, ValueError, TypeError):
            found = place_access.find(module, path)
        if type(found) is not kind or id(found) in self._taken:
            found = objects.make_empty(kind)
            with contextlib.suppress(LookupError, AttributeError, ValueError, TypeError):
                place_access.put(module, path, found)
        self._taken.add(id(found))
        return found


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, owned: _Owned) -> None:
        super().__init__(file)
        self._owned = owned

    def persistent_load(self, pid: Any) -> Any:
        return self._owned.get(pid)


def _tolerant(name: str, count: int, gives: bool) -> Any:
    """Wraps a step of the unpickler that may fail. `count`: the number of stack items that the step takes, 0 for those above
    the mark.

    `gives`: the step replaces them with one object, for which `Missing` stands in; otherwise it adds them to the object below.
    """
    step = getattr(pickle._Unpickler, name)  # type: ignore[attr-defined]

    def tolerant_step(self: Any) -> None:
        parts = self.stack[-count:] if count else self.stack
        depth, marks = len(self.stack), len(self.metastack)
        try:
            step(self)
        except _FAILURES as e:  # the program's own code may run here
            if count:
                del self.stack[depth - count :]
            elif len(self.metastack) == marks:
                self.pop_mark()
            if gives:
                self.append(Missing(f"a part of {self.subject} could not be rebuilt in the worker: {type(e).__name__}: {e}"))
            self.try_later(name, self.stack[-1], parts)

    return tolerant_step


class _TolerantUnpickler(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """An unpickler in Python. It isolates every step that may run code of the program: only the failing part is missing."""

    dispatch = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined] # noqa: RUF012 - as its base

    def __init__(self, file: Any, owned: _Owned, memo: dict[int, Any]) -> None:
        super().__init__(file)
        self._owned, self.subject = owned, ""
        self.memo = memo
        # Steps to be run at the end, each with its subject for messages.
        self.later: list[tuple[str, Callable[[], Any]]] = []

    def try_later(self, name: str, container: Any, parts: list[Any]) -> None:
        """Postpones a step that may have failed only because objects had no attributes yet."""
        if name == "load_reduce" and any(parts[0] is one for one in (*objects.FILLS, caches.fill)):
            self.later.append((self.subject, partial(parts[0], *parts[1])))
        elif name in {"load_setitem", "load_setitems"}:
            step = partial(_set_items, container, parts[::2], parts[1::2])
            self.later.append((self.subject, step))
        elif name == "load_additems":
            self.later.append((self.subject, partial(container.update, parts)))

    def persistent_load(self, pid: Any) -> Any:
        return self._owned.get(pid)


def _set_items(container: Any, keys: list[Any], values: list[Any]) -> None:
    for key, value in zip(keys, values, strict=True):
        container[key] = value


for _code, _name, _count, _gives in (
    (pickle.REDUCE, "load_reduce", 2, True),
    (pickle.NEWOBJ, "load_newobj", 2, True),
    (pickle.NEWOBJ_EX, "load_newobj_ex", 3, True),
    (pickle.STACK_GLOBAL, "load_stack_global", 2, True),
    (pickle.BINPERSID, "load_binpersid", 1, True),
    (pickle.FROZENSET, "load_frozenset", 0, True),
    (pickle.BUILD, "load_build", 1, False),
    (pickle.APPEND, "load_append", 1, False),
    (pickle.APPENDS, "load_appends", 0, False),
    (pickle.SETITEM, "load_setitem", 2, False),
    (pickle.SETITEMS, "load_setitems", 0, False),
    (pickle.ADDITEMS, "load_additems", 0, False),
):
    _TolerantUnpickler.dispatch[_code[0]] = _tolerant(_name, _count, _gives)

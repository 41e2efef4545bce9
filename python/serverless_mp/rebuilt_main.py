"""A worker becomes a process of a program that forks: from the pieces that `main_module` has written."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import pickle
import sys
import types
from typing import IO, TYPE_CHECKING, Any

from . import inherited
from .fork_pickler import GLOBALS, Missing

if TYPE_CHECKING:
    from collections.abc import Callable

# In a pickle: the next part is what has this number as its persistent id.
_PART = pickle.BININT + b"%b" + pickle.BINPERSID + pickle.MEMOIZE + pickle.POP


def load(open_record: Callable[[], IO[bytes]], file: str | None = None) -> Any:
    """Becomes the program's process: rebuilds what was written, and returns the process object.

    `file` is where the script is on this machine, if that is another one. `open_record` gives what was written; once more,
    where a piece cannot be rebuilt.
    """
    first = _Rebuilding(open_record(), file, careful=False)
    try:
        return first.run()
    except _FailedError:
        _first_tries.append(first)
    return _Rebuilding(open_record(), file, careful=True).run()


# What they have made is kept: it may close a descriptor, of a socket say, that the second try uses.
_first_tries: list[_Rebuilding] = []


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

    def run(self) -> Any:
        """The process object."""
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

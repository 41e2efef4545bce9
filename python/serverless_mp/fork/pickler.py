"""The pickler of a program that forks. It writes objects that a worker has in its own modules by their place, all others by
content, each once.

An object is written from its parts, without asking the program: a process that forks runs none of the program's code, such as a
`__getstate__` that leaves something out. Only an object that is more than its attributes (made by C, reference-counted by this
package, or rebuilt by an installed library's own rule) is written by its protocol.

With `careful`, objects that cannot be pickled are left out: a stand-in takes their place, which raises an error with the reason
when it is used.
"""

from __future__ import annotations

import gc
import pickle
import sys
import types
from collections import ChainMap
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar

import cloudpickle

from serverless_mp.program import modules
from serverless_mp.program.introspect import attributes, is_a, module_of_class

from . import (
    arrays,
    c_objects,
    c_types,
    caches,
    deep_structures,
    functions,
    memory_views,
    objects,
    place_access,
    places,
    tensors,
)
from .classes import definition_of, reduce_class
from .missing import Missing
from .reducers import REDUCERS, REDUCERS_BY_NAME, reducer_of_library

# Kinds of persistent ids: the globals of a module; a module; an object at a place; a type at a place; the globals of a module
# that is not in `sys.modules`; a container that is filled later; one that another thread may change, by a copy.
GLOBALS, MODULE, OBJECT, TYPE, SPACE, CONTAINER, COPY = range(7)
_CHANGING = (list, dict)
# A dictionary of this size is read in less time than threads have for their turns.
_SMALL = 16
# The number of parts that a reducer returns if it includes a function that takes the state.
_WITH_FILL = 6
_OF_TORCH: dict[tuple[str, str], Any] = {
    ("torch", "Tensor"): tensors.reduce_tensor,
    ("torch.nn.parameter", "Parameter"): tensors.reduce_parameter,
}
_BY_NAME = REDUCERS_BY_NAME | _OF_TORCH
_TYPES_BY_NAME = {value: name for name, value in vars(types).items() if isinstance(value, type)}


class TooLargeError(Exception):
    """A piece holds more objects than its limit allows."""


class ForkPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """A pickler with one memo for everything that it dumps.

    `by_value`: modules whose functions and classes a worker does not import. `owned`: persistent ids, by id, of objects that a
    worker finds at a place. `by_name`: `__main__` exists in the other process, so only names are written for its content.
    `by_protocol`: ids of objects that are written by their own rule, because something in them cannot be pickled.
    """

    # On the class, since the C base class reads it there during construction.
    dispatch_table: ClassVar[Any] = ChainMap(
        {memoryview: memory_views.reduce_memoryview},
        REDUCERS,
        ForkingPickler._extra_reducers,  # type: ignore[attr-defined]
        cloudpickle.Pickler.dispatch_table,
    )

    def __init__(
        self,
        file: Any,
        by_value: frozenset[str] = frozenset(modules.OF_MAIN),
        *,
        by_name: bool = False,
        careful: bool = False,
        owned: dict[int, Any] | None = None,
        by_protocol: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._by_value, self._by_name, self._careful, self._by_protocol = by_value, by_name, careful, by_protocol
        self._owned = owned or {}
        self._known: dict[int, Any] = {}
        for name, module in list(sys.modules.items()):
            if is_a(module, types.ModuleType):
                self._known.setdefault(id(attributes(module)), (GLOBALS, name))
                if name in by_value:
                    self._known[id(module)] = (MODULE, name)
        # `subject`: the object being written, for messages. `left`: how many more objects may be written, if limited.
        self.subject = "the object"
        self.left: int | None = None
        # The ids of objects that a worker finds at a place, and that were referred to.
        self.referred: set[int] = set()
        # The errors of objects that were left out, by the id of the object.
        self.left_out: dict[int, Exception] = {}
        self._being_defined: set[type] = set()
        # The origin of each function, by id; for each cell a function that has it, with the cell's name.
        self._origins: dict[int, functions.Origin] = {}
        self._cells: dict[int, tuple[functions.Origin, str]] = {}
        self._queue: deep_structures.Queue | None = None
        # Containers that are filled later, and other objects that must keep their ids.
        self._containers: list[Any] = []
        # By the id of a container, its persistent id with a copy; None for such a copy itself.
        self._copies: dict[int, tuple[int, Any] | None] = {}
        self._has_threads = not by_name and len(sys._current_frames()) > 1
        # The ids of objects that have already been written.
        self._written: set[int] = set()
        self._alive: list[Any] = []

    def dump_in_turn(self, obj: Any, *, is_content: bool) -> None:
        """Dumps an object that is nested too deeply to be written at once."""
        self._written = set(self.memo.copy())
        self._queue = deep_structures.Queue(obj, self._name_container, is_content=is_content)
        try:
            self.dump(self._queue)
        finally:
            self._alive += self._queue.alive
            self._queue = None

    def _name_container(self, container: Any) -> bool:
        """Gives a container a persistent id. Returns False if it has one already, or has been written."""
        if any(id(container) in seen for seen in (self._known, self._owned, self._written, self._copies)):
            return False
        self._known[id(container)] = (CONTAINER, len(self._containers), type(container) is dict)
        self._containers.append(container)
        return True

    def count_containers(self) -> int:
        """The number of containers named so far."""
        return len(self._containers)

    def take_over(self, old: ForkPickler, count: int) -> None:
        """Takes over the state of another pickler, as it was after `count` containers."""
        self.left_out, self.subject, self._alive = old.left_out, old.subject, old._alive
        self._origins, self._cells, self.referred = old._origins, old._cells, old.referred
        written = self.memo.copy()
        for key, pid in old._copies.items():
            if pid is not None and id(pid[1]) in written:
                self._copies |= {key: pid, id(pid[1]): None}
        for container in old._containers[:count]:
            self._name_container(container)

    def persistent_id(self, obj: Any) -> Any:
        """The persistent id of an object that the worker has already."""
        key = id(obj)
        known = self._known.get(key)
        if known is None and (known := self._owned.get(key)) is not None:
            self.referred.add(key)
        if known is None and self.left is not None:
            self.left -= 1
            if self.left < 0:
                message = "it holds more objects than are carried to a worker for its sake"
                raise TooLargeError(message)
        if known is None and self._queue is not None:
            self._written.add(key)
        if known is None and self._has_threads and type(obj) in _CHANGING and (key in self._copies or self._queue is None):
            return self._copy_of(obj)
        return known

    def _copy_of(self, container: Any) -> Any:
        """A list or dictionary as it is at this moment: one that grows while it is written would be written for ever."""
        key = id(container)
        if key not in self._copies:
            self._alive.append(container)
            if type(container) is dict and len(container) <= _SMALL:
                self._copies[key] = None  # however large it is when it is met again
            else:
                copy = container.copy()
                self._alive.append(copy)
                self._copies |= {key: (COPY, copy), id(copy): None}
        return self._copies[key]

    def reducer_override(self, obj: Any) -> Any:
        """The reduced form of an object."""
        places.Counter.visited += 1
        if self._queue is None:
            return self._reduced(obj)
        if obj is self._queue:
            return deep_structures.reduce_queue(obj)
        if type(obj) is deep_structures.Step:
            return deep_structures.reduce_step(obj)
        reduced = self._reduced(obj)
        is_filled = type(reduced) is tuple and len(reduced) == _WITH_FILL and any(reduced[5] is fill for fill in objects.FILLS)
        if not is_filled or getattr(type(obj), "__hash__", None) not in (object.__hash__, None):
            return reduced
        self._queue.put(reduced[5], obj, reduced[2])
        return reduced[:2]

    def _reduced(self, obj: Any) -> Any:
        if not self._careful:
            return self._reduce(obj)
        try:
            reduced = self._reduce(obj)
            return self._by_hand(obj) if reduced is NotImplemented and not is_a(obj, (type, types.FunctionType)) else reduced
        except TooLargeError:
            raise
        except Exception as e:
            if is_a(e, RecursionError) and self._queue is None:
                raise  # it is tried again in turn
            # Whatever the error is, it is the reason.
            self.left_out[id(obj)] = e
            what = f"{self.subject} ({type(obj).__qualname__})"
            why = f"{what} could not travel to the worker: {type(e).__name__}: {e}"
            return Missing, (why, type(obj).__qualname__)

    def _reduce(self, obj: Any) -> Any:  # noqa: PLR0911 - a case for each kind
        if is_a(obj, type):
            return self._reduce_type(obj)
        if is_a(obj, types.FunctionType):
            return NotImplemented if self._is_by_reference(obj) else self._reduce_function(obj)
        kind: Any = type(obj)
        if issubclass(kind, types.ModuleType) and (reduced := self._reduce_module(obj)) is not None:
            return reduced
        if kind is types.CellType:
            return functions.reduce_cell(obj, self._cells.get(id(obj)))
        if kind is types.BuiltinFunctionType and is_a(obj.__self__, types.ModuleType) and not self._is_by_reference(obj):
            return place_access.original, places.home(obj)  # another value stands in its place
        if self._by_name or id(obj) in self._by_protocol:  # a message is pickled as usual
            return NotImplemented
        if kind is caches.Cached and not self._is_by_reference(obj):
            return caches.reduce(obj, self._places_of(obj)[:1])
        by_name = _BY_NAME.get((kind.__module__, kind.__qualname__)) or reducer_of_library(kind)
        if by_name is not None:
            return by_name(obj)
        reduced = c_objects.reduce(obj) or arrays.reduce_array(obj) or objects.reduce(obj)
        return reduced or self._reduce_named(obj) or NotImplemented

    def _reduce_named(self, obj: Any) -> Any:
        """An object that is written under its own name, which a worker would look up before it is there, from its parts."""
        home = attributes(obj).get("__module__")
        if home not in self._by_value or not objects.is_plain(type(obj)):
            return None
        name = obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return objects.reduce_plain(obj, type(obj)) if isinstance(name, str) and found_by_name(home, name) is obj else None

    def _is_by_reference(self, obj: Any) -> bool:
        """Whether a worker finds the object under its name, and it was not put there after the import."""
        module, name = places.home(obj)
        if module in self._by_value and not (self._by_name and module in modules.OF_MAIN):
            return False
        place = self._owned.get(~id(obj))
        travels = (
            place is not None and [step for step in place[1] if step != "__func__"] == name.split(".") and place[0] == module
        )
        return found_by_name(module, name) is obj and not travels

    def _reduce_module(self, module: types.ModuleType) -> Any:
        """A module reduced to its name, else to its globals; None for one of a class of its own that is not found."""
        what, name = self._known.get(id(attributes(module)), (SPACE, ""))
        if what == GLOBALS and modules.is_late(module):
            return place_access.late_module, (name,)
        if what == GLOBALS:
            is_usual = type(module) is types.ModuleType and sys.modules.get(module.__name__) is module
            return NotImplemented if is_usual else (place_access.module, (name,))
        if self._by_name or type(module) is not types.ModuleType:
            return None
        self._known[id(vars(module))] = (SPACE, module)
        return (
            place_access.make_module,
            (module.__name__,),
            place_access.content_of_module(module),
            None,
            None,
            place_access.fill_module,
        )

    def _reduce_type(self, cls: type) -> Any:  # noqa: PLR0911 - a case for each kind
        if self._is_by_reference(cls):
            return NotImplemented
        name = _TYPES_BY_NAME.get(cls)
        if name is not None:
            return getattr, (types, name)
        if cls in _OF_BUILTINS:
            return type, (_OF_BUILTINS[cls],)
        made_in_c = c_types.reduce(cls)
        if made_in_c is not None:
            return made_in_c
        if (place := _place_of_class(cls)) is not None:
            return place_access.original, place
        if not objects.is_of_python(cls) and found_by_name(*places.home(cls)) is not None:
            return place_access.original, places.home(cls)  # another value stands in its place
        if not objects.is_of_python(cls):
            message = f"{cls!r} is not found under its name"
            raise pickle.PicklingError(message)
        return definition_of(cls, self._being_defined) or reduce_class(cls) or super().reducer_override(cls)

    def _reduce_function(self, function: types.FunctionType) -> Any:
        space = function.__globals__
        if id(space) not in self._known and "__spec__" in space:
            owner = next((one for one in gc.get_referrers(space) if type(one) is types.ModuleType and vars(one) is space), None)
            self._known[id(space)] = (SPACE, owner) if owner is not None else None
        is_of_module = (self._known.get(id(space)) or (SPACE,))[0] == GLOBALS
        origin = self._origins.get(id(function))
        if origin is None:
            origin = functions.origin_of(function, self._places_of(function) if is_of_module else ())
            self._origins[id(function)] = origin
            self._alive.append(function)
        for name, cell in places.cells_of(function):
            self._cells.setdefault(id(cell), (origin, name))
        return functions.reduce(function, origin)

    def _places_of(self, function: Any) -> tuple[functions.Place, ...]:
        """The places where a worker may have created the same function in its own modules."""
        if self._by_name:
            return ()
        module, name = places.home(function)
        owned = self._owned.get(~id(function))
        found = [] if owned is None else [owned]
        # If a decorator was put around the function later, the value under its name is the worker's own.
        at_home = found_by_name(module, name)
        if module not in self._by_value and not (is_a(at_home, types.FunctionType) and self._is_by_reference(at_home)):
            found.append((module, tuple(name.split("."))))
        return tuple(found)

    def _by_hand(self, obj: Any) -> Any:
        """Reduces an object as pickle itself would, so that an error can still be caught."""
        reduce = self.dispatch_table.get(type(obj))
        reduced = reduce(obj) if reduce else obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        if not isinstance(reduced, str):
            return reduced
        module = pickle.whichmodule(obj, reduced)  # type: ignore[attr-defined]
        if found_by_name(module, reduced) is obj:
            return NotImplemented
        return place_access.original, (module, reduced)


def _place_of_class(cls: type) -> tuple[str, str] | None:
    """The place in an installed module of a class of an extension that names a module which does not exist."""
    home = module_of_class(cls)
    if not home or home in sys.modules:
        return None
    holders = [name for name, module in list(sys.modules.items()) if attributes(module).get(cls.__name__) is cls]
    installed = [name for name in holders if name not in modules.OF_MAIN and not modules.is_own(sys.modules[name])]
    return (installed[0], cls.__name__) if installed else None


_OF_BUILTINS = {type(None): None, type(NotImplemented): NotImplemented, type(...): ...}


def found_by_name(module: str, name: str) -> Any:
    """The value of a dotted name, found without calling a descriptor or `__getattr__` of the program."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        if is_a(found, type):
            found = vars(found).get(part)
            found = found.__func__ if is_a(found, staticmethod) else found
        elif is_a(found, types.ModuleType):
            is_lazy = part not in vars(found) and "__getattr__" in vars(found) and not modules.is_own(found)
            found = getattr(found, part, None) if is_lazy else vars(found).get(part)
        else:
            return None
    return found

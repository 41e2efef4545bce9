"""The pickler of a program that forks: what is of `__main__` or of no module by value, and nothing twice.

`careful`, it leaves out what cannot be pickled: in its place stands something that raises, and says why, when it is used.
"""

from __future__ import annotations

import pickle
import sys
import types
from collections import ChainMap
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar, NoReturn

import cloudpickle

from .fork_classes import definition_of
from .fork_reducers import REDUCERS, reduce_array, reduce_delegate
from .reach import is_a

GLOBALS = "the globals of __main__"
# What cloudpickle writes in its place.
_NO_FILE = "<dynamic-code>"


def _reduce_code(code: types.CodeType) -> Any:
    """As cloudpickle, which leaves out the file; tracebacks in a worker are to name it."""
    make, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return make, tuple(code.co_filename if argument == _NO_FILE else argument for argument in arguments)


class ForkPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """One memo for all that it dumps.

    `known`: what of `__main__` the worker has under its name; functions need not bring it. `by_name`: of its classes and
    functions only the names are written. `owned`: objects, by id, that the worker finds at a place of a module.
    """

    # On the class: the C base takes it from there when it is made.
    dispatch_table: ClassVar[Any] = ChainMap(
        {types.CodeType: _reduce_code},
        REDUCERS,
        ForkingPickler._extra_reducers,  # type: ignore[attr-defined]
        cloudpickle.Pickler.dispatch_table,
    )

    def __init__(
        self,
        file: Any,
        known: dict[str, Any],
        *,
        by_name: bool = False,
        careful: bool = False,
        owned: dict[int, tuple[str, str, type]] | None = None,
    ) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._by_name, self._careful = by_name, careful
        self._globals = sys.modules["__main__"].__dict__
        self._known = known
        self._owned = owned or {}
        # What is being written, for messages.
        self.subject = "the object"
        # The errors of what was left out, by its id.
        self.left_out: dict[int, Exception] = {}
        self._being_defined: set[type] = set()
        self.globals_ref[id(self._globals)] = self._globals

    def persistent_id(self, obj: Any) -> Any:
        """What the worker has already: the globals themselves, and what its modules own."""
        return GLOBALS if obj is self._globals else self._owned.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        """By name where the worker has it."""
        if not self._careful:
            return self._reduce(obj)
        try:
            reduced = self._reduce(obj)
            return self._by_hand(obj) if reduced is NotImplemented and not is_a(obj, (type, types.FunctionType)) else reduced
        except Exception as e:  # noqa: BLE001 - whatever it raises is the reason
            self.left_out[id(obj)] = e
            what = f"{self.subject} ({type(obj).__qualname__})"
            return Missing, (f"{what} could not travel to the worker: {type(e).__name__}: {e}",)

    def _reduce(self, obj: Any) -> Any:
        is_class, is_function = is_a(obj, type), is_a(obj, types.FunctionType)
        if not is_class and not is_function:
            return reduce_array(obj) or reduce_delegate(obj, self.dispatch_table) or NotImplemented
        if self._by_name and obj.__module__ == "__main__" and self._is_known(obj):
            return NotImplemented
        if is_class and (definition := definition_of(obj, self._being_defined)):
            return definition
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented:
            return reduced
        if is_function:
            return self._with_its_own(obj, reduced)
        if obj.__qualname__ != obj.__name__ and isinstance(reduced[2], tuple):
            # By which it is found again when something of it comes back.
            reduced[2][0]["__qualname__"] = obj.__qualname__
        return reduced

    def _with_its_own(self, function: types.FunctionType, reduced: Any) -> Any:
        """With its cells themselves, which others may share, and without what comes with `__main__` once for all."""
        make, (code, space, name, defaults, _), (state, slots), *rest = reduced
        if function.__globals__ is self._globals:
            named = slots["__globals__"]
            slots["__globals__"] = {name: named[name] for name in named if name not in self._known}
        slots["__closure__"] = None
        return make, (code, space, name, defaults, function.__closure__), (state, slots), *rest

    def _by_hand(self, obj: Any) -> Any:
        """What pickle itself would do, while an error can still be caught."""
        reduce = self.dispatch_table.get(type(obj))
        reduced = reduce(obj) if reduce else obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        if isinstance(reduced, str):
            found: Any = sys.modules[pickle.whichmodule(obj, reduced)]  # type: ignore[attr-defined]
            for part in reduced.split("."):
                found = getattr(found, part)
            if found is not obj:
                message = f"it is not the same object as {reduced} of its module"
                raise pickle.PicklingError(message)
            return NotImplemented
        return reduced

    def _is_known(self, obj: Any) -> bool:
        name, _, rest = obj.__qualname__.partition(".")
        found = self._known.get(name)
        for part in rest.split(".") if rest else ():
            found = getattr(found, part, None)
        return found is obj


class Missing:
    """Stands in the worker for what could not travel."""

    def __init__(self, why: str) -> None:
        object.__setattr__(self, "_why", why)

    def _raise(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(object.__getattribute__(self, "_why"))

    def __reduce__(self) -> Any:
        return Missing, (object.__getattribute__(self, "_why"),)


_USES = """getattr setattr delattr call iter next len contains getitem setitem delitem enter exit bool int float index str
add radd sub rsub mul rmul truediv rtruediv floordiv mod pow and or xor lt le gt ge"""
for _name in _USES.split():
    setattr(Missing, f"__{_name}__", Missing._raise)

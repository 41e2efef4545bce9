"""`multiprocessing` under the names of drop-ins for it: `multiprocess`, `fiber`, `lithops.multiprocessing`.

Drop-ins pickle by value what cannot be imported by name (lambdas, nested functions). As soon as there is an alias, everything
here does so too.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_REAL = "multiprocessing"


class Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `NAME` and its submodules, and returns the modules of `multiprocessing` themselves."""

    def __init__(self, name: str) -> None:
        """Raises ValueError for a string that is no package's name, RuntimeError for a package that is imported already."""
        if not all(part.isidentifier() for part in name.split(".")) or name.partition(".")[0] in {_REAL, "serverless_mp"}:
            message = f"{name!r} cannot be another name of multiprocessing: must be a package's, such as 'multiprocess'"
            raise ValueError(message)
        if name in sys.modules:
            message = f"{name} is imported already: serverless_mp.install(as_=[{name!r}]) must come before its first import"
            raise RuntimeError(message)
        self.name = name
        self._specs: dict[str, Any] = {}
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Removes the name, so that it can be imported normally."""
        sys.meta_path.remove(self)
        for name in [n for n in sys.modules if n == self.name or n.startswith(f"{self.name}.")]:
            del sys.modules[name]

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        """Finds a module that `multiprocessing` also has, or its parent package if that does not exist."""
        if self.name.startswith(f"{fullname}."):
            own = any(
                find.find_spec(fullname, path) for find in sys.meta_path if find is not self and hasattr(find, "find_spec")
            )
            return None if own else ModuleSpec(fullname, None, is_package=True)
        real = self._real(fullname)
        found = importlib.util.find_spec(real) if real is not None else None
        return found and ModuleSpec(fullname, self, is_package=found.submodule_search_locations is not None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Returns the real module."""
        module = importlib.import_module(str(self._real(spec.name)))
        self._specs[module.__name__] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Does not run the module again, but restores its own spec, which the import has replaced."""
        module.__spec__ = self._specs.pop(module.__name__)

    def _real(self, fullname: str) -> str | None:
        if fullname == self.name:
            return _REAL
        rest = fullname.removeprefix(f"{self.name}.")
        return None if rest == fullname else f"{_REAL}.{rest}"

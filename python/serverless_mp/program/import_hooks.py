"""Hooks that run as soon as a library's module is imported."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Step = Callable[[ModuleType], None]


class _Finder:
    """A finder that waits for modules to be imported."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    def find_spec(self, name: str, *rest: Any) -> ModuleSpec | None:
        """The module's own spec, extended by our step after execution. Execution may happen later, or never."""
        step = self.steps.get(name)
        if step is None:
            return None
        found = (
            finder.find_spec(name, *rest) for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")
        )
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if self.steps.pop(name, None) is not None:
                step(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class _LoadingSpec(ModuleSpec):
    """The spec of a module that is being executed. The import system clears an attribute of it when execution ends."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_initializing" and not value:
            self.__class__ = ModuleSpec  # type: ignore[assignment]
            step = self.__dict__.pop("_step")
            if self.name in sys.modules:
                step(sys.modules[self.name])


_finder = _Finder()


def when_imported(name: str, step: Step) -> None:
    """Calls `step` with the module of this name: at once if it is imported already, else after its execution."""
    if name in sys.modules:
        spec = getattr(sys.modules[name], "__spec__", None)
        if type(spec) is ModuleSpec and getattr(spec, "_initializing", False):
            spec.__dict__["_step"] = step
            spec.__class__ = _LoadingSpec
        else:
            step(sys.modules[name])
        return
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)  # type: ignore[arg-type]
    _finder.steps[name] = step


def forget() -> None:
    """Drops all waiting steps."""
    _finder.steps.clear()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)  # type: ignore[arg-type]

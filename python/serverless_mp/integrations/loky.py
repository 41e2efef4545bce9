"""loky's executors on our workers: loky itself, and joblib's copy of it (`joblib.externals.loky`).

loky keeps its executor, its queues (which are subclasses of ours once `install()` has run) and its way of pickling. Its context
gets our processes, locks and semaphores.
"""

from __future__ import annotations

import importlib
import pickle
from typing import TYPE_CHECKING, Any

from serverless_mp.context import Factories
from serverless_mp.process import ServerlessProcess
from serverless_mp.program import import_hooks

if TYPE_CHECKING:
    from types import ModuleType

_PACKAGES = ("loky", "joblib.externals.loky")
_LOCKS = ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event")

_replaced: list[tuple[type, str, Any]] = []


class LokyProcess(ServerlessProcess):
    """A process of loky: with additional environment variables, and without `__main__` unless that is requested."""

    _start_method = "spawn"
    _dumps: Any = None

    def __init__(self, *args: Any, init_main_module: bool = False, env: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._environment = env or {}
        self._import_main = init_main_module

    def __reduce__(self) -> Any:
        # As in loky: an object that cannot be imported by name, such as a lambda as initializer, is pickled by value.
        return _rebuild, (bytes(self._dumps(self.__dict__)),)


def _rebuild(state: bytes) -> LokyProcess:
    process = LokyProcess.__new__(LokyProcess)
    process.__dict__.update(pickle.loads(state))  # noqa: S301 - part of a sealed record
    return process


def install() -> None:
    """Makes loky's contexts use our classes, now or when loky is imported."""
    for package in _PACKAGES:
        import_hooks.when_imported(f"{package}.backend.context", _patch)


def uninstall() -> None:
    """Restores loky's own attributes."""
    while _replaced:
        setattr(*_replaced.pop())


def _patch(module: ModuleType) -> None:
    theirs = importlib.import_module(f"{module.__package__}.reduction")

    class Process(LokyProcess):
        _dumps = staticmethod(theirs.dumps)

    class InitMainProcess(Process):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, init_main_module=True, **kwargs)

    _replace(module.LokyContext, "Process", Process)
    _replace(module.LokyInitMainContext, "Process", InitMainProcess)
    for name in _LOCKS:
        _replace(module.LokyContext, name, getattr(Factories, name))


def _replace(owner: type, name: str, value: Any) -> None:
    _replaced.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)

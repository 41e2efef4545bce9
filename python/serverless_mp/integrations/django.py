"""Django's parallel test runner on our workers, which it prepares as it prepares spawned processes.

For spawned processes, Django sets itself up in each worker and copies a database in memory; for forked ones, it relies on their
memory. Our workers have Django's settings by then, but none of the program's connections. A database in a file is available in
both cases.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from serverless_mp.program import import_hooks

if TYPE_CHECKING:
    from types import ModuleType

_CREATION = "django.db.backends.sqlite3.creation"
_OF_DATABASE = ("get_test_db_clone_settings", "_clone_test_db", "setup_worker_connection")

_replaced: list[tuple[Any, str, Any]] = []


def install() -> None:
    """Patches Django, now or when it is imported."""
    import_hooks.when_imported("django.test.runner", _patch_runner)
    import_hooks.when_imported(_CREATION, _patch_creation)


def uninstall() -> None:
    """Restores Django's own attributes."""
    while _replaced:
        setattr(*_replaced.pop())


class _Spawning:
    """`multiprocessing` with processes that do not share memory with their parent."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self.is_asked_for_file = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def get_start_method(self, allow_none: bool = False) -> Any:
        method = self._module.get_start_method(allow_none)
        return "spawn" if method == "fork" and not self.is_asked_for_file else method


def _patch(module: ModuleType) -> _Spawning:
    spawning = _Spawning(module.multiprocessing)
    _replaced.append((module, "multiprocessing", module.multiprocessing))
    module.multiprocessing = spawning  # type: ignore[attr-defined]
    return spawning


def _patch_runner(module: ModuleType) -> None:
    _patch(module)


def _patch_creation(module: ModuleType) -> None:
    spawning = _patch(module)
    for name in _OF_DATABASE:
        method = vars(module.DatabaseCreation)[name]
        _replaced.append((module.DatabaseCreation, name, method))
        setattr(module.DatabaseCreation, name, _for_its_database(method, spawning))


def _for_its_database(method: Any, spawning: _Spawning) -> Any:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        before, spawning.is_asked_for_file = (
            spawning.is_asked_for_file,
            not self.is_in_memory_db(self.connection.settings_dict["NAME"]),
        )
        try:
            return method(self, *args, **kwargs)
        finally:
            spawning.is_asked_for_file = before

    return call

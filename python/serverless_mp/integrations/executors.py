"""The process executors of `concurrent.futures` and loky: the pipe that wakes their own thread stays within the program.

If the store is lost, that thread fails everything that waits for it.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from multiprocessing.connection import Connection
from types import FunctionType
from typing import TYPE_CHECKING, Any

from serverless_mp.process import starts_in_a_row
from serverless_mp.program import import_hooks

if TYPE_CHECKING:
    from types import ModuleType

_MODULES = ("concurrent.futures.process", "loky.process_executor", "joblib.externals.loky.process_executor")

_replaced: list[tuple[Any, str, Any]] = []


def install() -> None:
    """Patches the executors, now or when they are imported."""
    for name in _MODULES:
        import_hooks.when_imported(name, _patch)


def uninstall() -> None:
    """Restores the executors' own attributes."""
    while _replaced:
        setattr(*_replaced.pop())


class _LocalPipes:
    """`multiprocessing` for a thread that is woken by its own process: uses the system's pipes and no store."""

    @staticmethod
    def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: ARG004 - CPython's signature
        reader, writer = os.pipe()
        return Connection(reader, writable=False), Connection(writer, readable=False)


def _patch(module: ModuleType) -> None:
    names: Any = vars(module)
    wakeup, thread = names["_ThreadWakeup"], names["_ExecutorManagerThread"]
    make, run = wakeup.__init__, thread.run
    make_with_local_pipe = FunctionType(make.__code__, {**names, "mp": _LocalPipes}, make.__name__)

    def run_until_lost(self: Any) -> None:
        try:
            run(self)
        except ConnectionError as e:
            # CPython's takes the text of the cause, loky's the error itself. Its other steps may fail without the store.
            with contextlib.suppress(ConnectionError):
                self.terminate_broken(e if "loky" in module.__name__ else traceback.format_exception(e))

    changes = [(wakeup, "__init__", make_with_local_pipe), (thread, "run", run_until_lost)]
    executor = names.get("ProcessPoolExecutor")
    if hasattr(executor, "_launch_processes"):  # loky starts its workers in another way, and never by fork
        launch = executor._launch_processes

        def launch_in_a_row(self: Any) -> None:
            with starts_in_a_row(self._mp_context):
                launch(self)

        changes.append((executor, "_launch_processes", launch_in_a_row))
    for owner, name, value in changes:
        _replaced.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

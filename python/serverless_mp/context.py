"""Counterpart of `multiprocessing.context`: factories of everything, in one context for each start method.

The names of the contexts are CPython's, since programs ask for them and look at the answer. The objects that they create are
ours.
"""

from __future__ import annotations

from multiprocessing import context as _stdlib
from multiprocessing.context import (
    AuthenticationError,
    BaseContext,
    BufferTooShort,
    DefaultContext,
    ProcessError,
    TimeoutError,  # noqa: A004 - CPython's name
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)
from typing import Any

from . import installed
from .process import BaseProcess, ForkProcess, ForkServerProcess, ServerlessProcess, SpawnProcess, launch
from .stdlib import public_names

__all__ = ["AuthenticationError", "BufferTooShort", "ProcessError", "TimeoutError"]
__all__ += ["assert_spawning", "get_spawning_popen", "set_spawning_popen"]


class Factories(BaseContext):
    """The factories of BaseContext, each from our module of the same name."""

    # ruff: noqa: PLC0415 - lazy imports keep `import serverless_mp` cheap, as in CPython

    def cpu_count(self) -> int:
        """The number of workers that the configuration allows: a pool's default size."""
        from . import config

        return config.workers()

    def Manager(self) -> Any:
        from .managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def Pipe(self, duplex: bool = True) -> Any:
        from .connection import Pipe

        return Pipe(duplex)

    def Lock(self) -> Any:
        from .synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> Any:
        from .synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock: Any = None) -> Any:
        from .synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value: int = 1) -> Any:
        from .synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(self, value: int = 1) -> Any:
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self) -> Any:
        from .synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(self, parties: int, action: Any = None, timeout: float | None = None) -> Any:
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize: int = 0) -> Any:
        from .queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize: int = 0) -> Any:
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self) -> Any:
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Pool(
        self, processes: int | None = None, initializer: Any = None, initargs: Any = (), maxtasksperchild: Any = None
    ) -> Any:
        from .pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context())

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        from .sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:
        from .sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        from .sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
        from .sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())


class ServerlessContext(Factories):
    """The context of one start method."""

    _name = "serverless"
    Process: type[BaseProcess] = ServerlessProcess

    def get_context(self, method: str | None = None) -> Any:
        """This context, or the context of another start method."""
        return self if method is None else _of(method)


class SpawnContext(ServerlessContext):
    """The context of the start method `spawn`."""

    _name = "spawn"
    Process = SpawnProcess


class ForkServerContext(ServerlessContext):
    """The context of the start method `forkserver`."""

    _name = "forkserver"
    Process = ForkServerProcess


class ForkContext(ServerlessContext):
    """The context of the start method `fork`."""

    _name = "fork"
    Process = ForkProcess


CONTEXTS: dict[str, ServerlessContext] = {
    c._name: c for c in (ForkContext(), SpawnContext(), ForkServerContext(), ServerlessContext())
}


def _of(method: str) -> ServerlessContext:
    try:
        return CONTEXTS[method]
    except KeyError:
        message = f"cannot find context for {method!r}"
        raise ValueError(message) from None


class ServerlessDefaultContext(Factories, DefaultContext):  # type: ignore[misc]
    """The context behind the module's own functions. A program may set its start method."""

    def get_context(self, method: str | None = None) -> Any:
        """The context that is set, or the context of another start method."""
        return DefaultContext.get_context(self) if method is None else _of(method)

    def get_all_start_methods(self) -> list[str]:
        """CPython's list without our own name: since 3.14 it contains every registered context."""
        return [name for name in super().get_all_start_methods() if name != ServerlessContext._name]


class _OwnDefaultContext(ServerlessDefaultContext):
    """The default context of `import serverless_mp as multiprocessing`. While `install()` is in force, there is one default for
    both names, that of the standard library.
    """

    def _installed(self) -> Any:
        standard = _stdlib._default_context  # type: ignore[attr-defined]
        return standard if isinstance(standard, ServerlessDefaultContext) else super()

    def get_context(self, method: str | None = None) -> Any:
        return self._installed().get_context(method)

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        self._installed().set_start_method(method, force)

    def get_start_method(self, allow_none: bool = False) -> Any:
        return self._installed().get_start_method(allow_none)


class Process(BaseProcess):
    """A process with the start method of the default context."""

    _start_method = None

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        # Not taken from CPython's default context, which is not ours if nothing was installed.
        return launch(process_obj, default.get_context().get_start_method())

    @staticmethod
    def _after_fork() -> None:
        """Does nothing: no state crosses a fork."""


def initial() -> ServerlessContext:
    """Our context for the start method that is the default of this Python."""
    return CONTEXTS[_stdlib._default_context._default_context._name]  # type: ignore[attr-defined]


default = _OwnDefaultContext(initial())
default.Process = Process  # type: ignore[assignment,misc]
installed.default = default

public_names.complete(__name__)

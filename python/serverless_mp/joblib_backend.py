"""joblib's process backends on our workers: the default, and `loky` or `multiprocessing` by name.

A batch of calls travels pickled with cloudpickle, as with loky. A buffer of `SERVERLESS_MP_LARGE_ARGUMENT` bytes or more is
stored once under the hash of its content and read once by each worker. As with joblib's memory maps, a task sees one of 1 MB or
more read-only; of a smaller one it gets a copy of its own.
"""

from __future__ import annotations

import collections
import hashlib
import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core, cache, config, imports, limits
from .process import ServerlessProcess

if TYPE_CHECKING:
    from types import ModuleType

_NAMES = ("loky", "multiprocessing")
# What a worker keeps of large arguments; a call seldom has more.
_KEPT = 8
# joblib's `max_nbytes`: from here on its workers see arrays read-only.
_READ_ONLY = 1_000_000

_replaced: list[tuple[dict[str, Any], str, Any]] = []
_kept: collections.OrderedDict[str, bytes] = collections.OrderedDict()


# ---- in the worker ---------------------------------------------------------------------------------------------


class Task:
    """One batch of calls on its way."""

    def __init__(self, payload: bytes, buffers: list[str]) -> None:
        self.payload, self.buffers = payload, buffers

    def __call__(self) -> Any:
        """Runs the batch."""
        return pickle.loads(self.payload, buffers=[_buffer(name) for name in self.buffers])()  # noqa: S301 - sealed


def _buffer(name: str) -> bytes | bytearray:
    if name not in _kept:
        if limits.working_time() is None:
            _kept[name] = _core.get_blob(name)
        else:
            # On another machine: once for all processes of its environment.
            path = cache.file(name.partition("-")[0], lambda: _core.get_blob(name))
            _kept[name] = Path(path).read_bytes()
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(name)
    return _kept[name] if len(_kept[name]) >= _READ_ONLY else bytearray(_kept[name])


class JoblibProcess(ServerlessProcess):
    """A worker that does not import the program's main module, as loky's does not."""

    _start_method = "spawn"
    _import_main = False


# ---- in the parent ---------------------------------------------------------------------------------------------


class _Sender:
    """Pickles batches, and stores their large buffers once."""

    def __init__(self) -> None:
        self._stored: set[str] = set()
        self._used: set[str] = set()
        # Hashed once a call: a program does not change an argument while its tasks run.
        self._hashed: dict[tuple[int, int], tuple[Any, str]] = {}
        self._copies: dict[int, tuple[Any, Any]] = {}

    def pack(self, func: Any) -> Task:
        import cloudpickle  # noqa: PLC0415 - 50 ms that only joblib users pay

        buffers: list[str] = []
        least = config.large_argument()

        def take(buffer: pickle.PickleBuffer) -> bool:
            with buffer.raw() as view:
                if view.nbytes < least:
                    return True
                buffers.append(self._store(view))
                return False

        sender = self

        class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
            def reducer_override(self, obj: Any) -> Any:
                if type(obj).__name__ == "ndarray" and type(obj).__module__ == "numpy" and obj.nbytes >= least:
                    return sender.contiguous(obj).__reduce_ex__(5)
                return super().reducer_override(obj)

        file = io.BytesIO()
        Pickler(file, protocol=5, buffer_callback=take).dump(func)
        return Task(file.getvalue(), buffers)

    def contiguous(self, array: Any) -> Any:
        """The array, or one copy of it for all tasks of a call: only what lies in one piece travels as a buffer."""
        if array.flags.c_contiguous or array.flags.f_contiguous:
            return array
        if id(array) not in self._copies:
            self._copies[id(array)] = (array, array.copy())
        return self._copies[id(array)][1]

    def _store(self, view: memoryview) -> str:
        owner = view.obj
        key = (id(owner), view.nbytes)
        if key not in self._hashed:
            # With this process' number: two that store the same at once must not write into one another's.
            name = f"h{hashlib.blake2b(view, digest_size=16).hexdigest()}-{_core.session_info()[4]}"
            self._hashed[key] = (owner, name)
        name = self._hashed[key][1]
        if name not in self._stored:
            _core.put_blob(name, bytes(view))
            self._stored.add(name)
        self._used.add(name)
        return name

    def end_call(self) -> None:
        """Keeps what this call used: the next one, of the same loop, may use it again."""
        for name in self._stored - self._used:
            _core.drop_blob(name)
        self._stored &= self._used
        self._used.clear()
        self._hashed.clear()
        self._copies.clear()


class _Context:
    """A pool's context whose workers know how many threads their libraries may use."""

    def __init__(self, ctx: Any, environment: dict[str, str]) -> None:
        self._ctx, self._environment = ctx, environment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def Process(self, *args: Any, **kwargs: Any) -> Any:
        process = JoblibProcess(*args, **kwargs)
        process._environment = self._environment  # type: ignore[attr-defined]
        return process


# Workers outlive a call, as loky's do: (how many, their environment, the pool).
_pool: tuple[int, dict[str, str], Any] | None = None
_sender = _Sender()


def _get_pool(workers: int, environment: dict[str, str]) -> Any:
    global _pool  # noqa: PLW0603 - one per process
    from . import context, pool  # noqa: PLC0415 - lazy, as in the context

    if _pool is not None and (_pool[0] != workers or _pool[1] != environment or _pool[2]._state != "RUN"):
        _drop_pool()
    if _pool is None:
        ctx = _Context(context.CONTEXTS["spawn"], environment)
        _pool = (workers, environment, pool.Pool(workers, context=ctx))
    return _pool[2]


def _drop_pool() -> None:
    global _pool  # noqa: PLW0603 - one per process
    if _pool is not None:
        _pool[2].terminate()
        _pool[2].join()
        _pool = None


def _make_backend() -> type:  # noqa: C901 - one class, which must be made late
    """The backend's class, which can only be made once joblib is there."""
    from joblib import _parallel_backends as theirs  # noqa: PLC0415 # type: ignore[import-untyped]
    from joblib.externals.loky.process_executor import TerminatedWorkerError  # noqa: PLC0415 # type: ignore[import-untyped]

    from .context import ProcessError  # noqa: PLC0415 - beside its use

    class ServerlessBackend(theirs.PoolManagerMixin, theirs.AutoBatchingMixin, theirs.ParallelBackendBase):  # type: ignore[misc]
        """loky's rules of nesting and inner threads; joblib takes care of files for loky's own class only."""

        supports_retrieve_callback = True
        supports_inner_max_num_threads = True

        def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
            n_jobs = self.effective_n_jobs(n_jobs)
            if n_jobs == 1:
                raise theirs.FallbackToBackend(theirs.SequentialBackend(nesting_level=self.nesting_level))
            self._pool = _get_pool(n_jobs, self._prepare_worker_env(n_jobs=n_jobs))
            self.parallel = parallel
            return n_jobs

        def effective_n_jobs(self, n_jobs: int) -> int:
            if n_jobs is not None and n_jobs < 0:
                n_jobs = max(config.workers() + 1 + n_jobs, 1)
            return theirs.LokyBackend.effective_n_jobs(self, n_jobs)

        def submit(self, func: Any, callback: Any = None) -> Any:
            return super().submit(_sender.pack(func), callback)

        def retrieve_result_callback(self, result: Any) -> Any:
            try:
                return super().retrieve_result_callback(result)
            except ProcessError as e:
                raise TerminatedWorkerError(str(e)) from e

        def stop_call(self) -> None:
            super().stop_call()
            _sender.end_call()

        def terminate(self) -> None:
            # The workers stay for the next call, as loky's do.
            self._pool = None
            self.reset_batch_stats()

        def abort_everything(self, ensure_ready: bool = True) -> None:
            _drop_pool()
            self._pool = None
            if ensure_ready:
                self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    return ServerlessBackend


# ---- selecting it ----------------------------------------------------------------------------------------------


def install() -> None:
    """Puts our backend in the place of joblib's process backends, now or when joblib is imported."""
    imports.when_imported("joblib.parallel", _patch)


def uninstall() -> None:
    """Gives joblib its own back."""
    _drop_pool()
    for names, name, backend in _replaced:
        names[name] = backend
    _replaced.clear()


def _patch(module: ModuleType) -> None:
    backend = _make_backend()
    for name in _NAMES:
        if name in module.BACKENDS:
            _replaced.append((module.BACKENDS, name, module.BACKENDS[name]))
            module.BACKENDS[name] = backend

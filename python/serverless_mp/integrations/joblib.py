"""joblib's process backends on our workers: joblib's own code, over loky's executors and pools that use our processes.

The difference is how large arrays reach the workers. joblib maps files, which other machines do not have. Here a buffer of
`SERVERLESS_MP_LARGE_ARGUMENT` bytes or more is stored once under the hash of its content, and read once by each machine. As
with joblib's memory maps, an array of 1 MB or more is read-only in a task; a smaller one is a private copy.
"""

from __future__ import annotations

import collections
import importlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from serverless_mp import _core, config
from serverless_mp.program import import_hooks, large_arguments

if TYPE_CHECKING:
    import mmap
    from types import ModuleType

    from serverless_mp.program.large_arguments import Piece

# The number of large arguments that a worker keeps; a call seldom has more.
_KEPT = 8
# joblib's `max_nbytes`: workers of joblib see arrays of this size and above read-only.
_READ_ONLY = 1_000_000

_replaced: list[tuple[Any, str, Any]] = []
_kept: collections.OrderedDict[str, mmap.mmap | bytearray] = collections.OrderedDict()


# ---- in the worker ---------------------------------------------------------------------------------------------


def rebuild(piece: Piece, kind: Any, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """An array over content that this worker keeps."""
    array = kind(shape, dtype, _buffer(piece), order=order)
    array.flags.writeable = array.nbytes < _READ_ONLY
    return array


def _buffer(piece: Piece) -> mmap.mmap | bytearray:
    content = _kept.get(piece.digest)
    if content is None:
        content = _kept[piece.digest] = piece.open()
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(piece.digest)
    return content if piece.size >= _READ_ONLY else bytearray(content)


# ---- in the parent ---------------------------------------------------------------------------------------------


class Arrays:
    """The reducer that pickles an array for a worker. Inside a worker, arrays are pickled as usual."""

    def __init__(self, least: int) -> None:
        self.least = least

    def __reduce__(self) -> Any:
        return Arrays, (self.least,)

    def __call__(self, array: Any) -> Any:
        """Reduces an array; joblib calls its reducers this way."""
        if array.nbytes < self.least or array.dtype.hasobject or not _core.is_open():
            return array.__reduce__()
        return _stored.reduce(array)


class _Stored:
    """The content of large arrays in the store, kept for all tasks of a call, and for the next call if it uses it too."""

    def __init__(self) -> None:
        self.begin()
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Starts empty; also in a child of the program's own `fork()`, since stored content belongs to its parent."""
        self._lock = threading.Lock()
        self._calls = 0
        self._pieces: dict[str, Piece] = {}
        self._used: set[str] = set()
        # Arrays that joblib would map are hashed once a call: a program does not change such an argument while its tasks run.
        self._reduced: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def reduce(self, array: Any) -> Any:
        """Reduces an array. Stores its content unless it is stored already."""
        with self._lock:
            known = self._reduced.get(id(array))
            if known is not None and known[0]() is array:
                arguments = known[1]
            else:
                arguments = large_arguments.reduce_array(array, self._keep)[1]
                if array.nbytes >= _READ_ONLY:
                    self._reduced[id(array)] = weakref.ref(array), arguments
            self._used.add(arguments[0].digest)
            return rebuild, arguments

    def _keep(self, view: memoryview) -> Piece:
        piece = large_arguments.store(view)
        if piece.digest in self._pieces:
            large_arguments.release([piece.digest])
        self._pieces[piece.digest] = piece
        return piece

    def begin_call(self) -> None:
        """Notes the start of a `Parallel` call."""
        with self._lock:
            self._calls += 1

    def end_call(self) -> None:
        """After the last running call: keeps what was used, since the next call of the same loop may use it again."""
        with self._lock:
            self._calls -= 1
            if self._calls > 0 or not _core.is_open():
                return
            unused = self._pieces.keys() - self._used
            large_arguments.release(list(unused))
            for digest in unused:
                del self._pieces[digest]
            self._used.clear()
            self._reduced.clear()


_stored = _Stored()


def _with_our_arrays(theirs: Any) -> Any:
    def get_memmapping_reducers(*args: Any, **kwargs: Any) -> Any:
        forward, backward = theirs(*args, **kwargs)
        most = kwargs.get("max_nbytes", _READ_ONLY)
        numpy = importlib.import_module("joblib._memmapping_reducer").np
        if numpy is not None and most is not None:
            forward[numpy.ndarray] = Arrays(config.large_argument())
            if config.launcher() != "local":
                forward[numpy.memmap] = Arrays(config.large_argument())
        return forward, backward

    return get_memmapping_reducers


def _change_backend(theirs: type) -> None:
    """Joblib's own class, except for its number of workers, if that is configured, and for how long arrays are stored."""
    number, start, stop = theirs.effective_n_jobs, theirs.start_call, theirs.stop_call  # type: ignore[attr-defined]

    def effective_n_jobs(self: Any, n_jobs: Any) -> Any:
        if n_jobs is not None and n_jobs < 0 and os.environ.get(config.workers.name):
            n_jobs = max(config.workers() + 1 + n_jobs, 1)
        return number(self, n_jobs)

    def start_call(self: Any) -> None:
        _stored.begin_call()
        start(self)

    def stop_call(self: Any) -> None:
        stop(self)
        _stored.end_call()

    for method in (effective_n_jobs, start_call, stop_call):
        _replaced.append((theirs, method.__name__, vars(theirs).get(method.__name__)))
        setattr(theirs, method.__name__, method)


# ---- selecting it ----------------------------------------------------------------------------------------------


def install() -> None:
    """Makes joblib's process backends send arrays our way, now or when joblib is imported."""
    import_hooks.when_imported("joblib.parallel", _patch)


def uninstall() -> None:
    """Restores joblib's own attributes."""
    while _replaced:
        owner, name, value = _replaced.pop()
        if value is None:  # it was inherited
            delattr(owner, name)
        else:
            setattr(owner, name, value)


def _patch(module: ModuleType) -> None:
    for user in ("joblib.executor", "joblib.pool"):
        owner = importlib.import_module(user)
        _replaced.append((owner, "get_memmapping_reducers", owner.get_memmapping_reducers))
        owner.get_memmapping_reducers = _with_our_arrays(owner.get_memmapping_reducers)  # type: ignore[attr-defined]
    for name in ("loky", "multiprocessing"):
        if name in module.BACKENDS:
            _change_backend(module.BACKENDS[name])

"""Pickling, and the explanation of an object that cannot be pickled.

Counterpart of `multiprocessing.reduction`: CPython's ForkingPickler, and a note on errors that names the part that cannot be
pickled. CPython sends a handle over the connection's own socket; here it is sent separately, to a process of this machine.
"""

from __future__ import annotations

import io
from multiprocessing import context, reduction, resource_sharer
from multiprocessing.reduction import DupFd, ForkingPickler, dump, recvfds, register, sendfds
from typing import Any

from . import _core
from .stdlib import public_names

__all__ = ["DupFd", "ForkingPickler", "dump", "recv_handle", "recvfds", "register", "send_handle", "sendfds"]

# CPython's functions, which `install()` replaces.
_send_handle, _recv_handle = reduction.send_handle, reduction.recv_handle
_DEPTH = 6
_by_value = False


def pickle_by_value(wanted: bool) -> None:
    """Sets whether functions that cannot be imported by name are pickled by value, as drop-ins of multiprocessing do."""
    global _by_value  # noqa: PLW0603 - one per process
    _by_value = wanted


def dumps(obj: Any) -> bytes:
    """Pickles an object for another process. Adds a note to the error if the object cannot be pickled."""
    try:
        return dumps_unexplained(obj)
    except Exception as e:
        explain(e, obj, "the object")
        raise


def dumps_unexplained(obj: Any) -> bytes:
    """Pickles an object without the note, for a caller that adds its own."""
    # The bytes are those of a message, even while a process is being launched: a destructor may send one then.
    launching = context.get_spawning_popen()
    context.set_spawning_popen(None)
    try:
        return bytes(ForkingPickler.dumps(obj))
    except Exception:
        if not _by_value:
            raise
        from .fork import capture  # noqa: PLC0415 - cloudpickle, which is rarely needed

        return capture.dumps(obj)
    finally:
        context.set_spawning_popen(launching)


def explain_first(error: BaseException, parts: list[tuple[str, Any]]) -> None:
    """Adds a note about the first of these named parts that cannot be pickled."""
    for name, part in parts:
        if not _picklable(part):
            return explain(error, part, name)
    return None


def loads(data: bytes) -> Any:
    """Unpickles what another process has pickled."""
    if not _by_value:
        return ForkingPickler.loads(data)
    from .fork import restore  # noqa: PLC0415 - cloudpickle, which is rarely needed

    return restore.load_object(io.BytesIO(data))


def send_handle(conn: Any, handle: int, destination_pid: int) -> None:
    """Sends a file descriptor to another process of this machine, which duplicates it when it receives it."""
    if _is_ours(conn):
        conn.send(DupFd(handle))
    else:
        _send_handle(conn, handle, destination_pid)


def recv_handle(conn: Any) -> int:
    """Receives a file descriptor that another process has sent. Raises RuntimeError for anything else."""
    if not _is_ours(conn):
        return _recv_handle(conn)
    handle = conn.recv()
    if not isinstance(handle, resource_sharer.DupFd):
        message = f"received no handle but {handle!r:.80}"
        raise RuntimeError(message)  # noqa: TRY004 - as in CPython
    return handle.detach()


def _is_ours(conn: Any) -> bool:
    return isinstance(getattr(conn, "_handle", None), _core.Channel)


def explain(error: BaseException, obj: Any, name: str) -> None:
    """Adds a note with the path to the innermost part that cannot be pickled."""
    path, part = _culprit(obj, name, _DEPTH)
    error.add_note(f"serverless_mp: {path} cannot be pickled: {type(part).__module__}.{type(part).__qualname__}")


def _culprit(obj: Any, path: str, depth: int) -> tuple[str, Any]:
    for name, part in _parts(obj) if depth else ():
        if not _picklable(part):
            return _culprit(part, path + name, depth - 1)
    return path, obj


def _parts(obj: Any) -> list[tuple[str, Any]]:
    if isinstance(obj, dict):
        return [(f"[{key!r:.40}]", value) for key, value in obj.items()]
    if isinstance(obj, (list, tuple)):
        return [(f"[{i}]", value) for i, value in enumerate(obj)]
    if hasattr(obj, "__self__") and hasattr(obj, "__func__"):
        return [(".__self__", obj.__self__)]
    return [(f".{key}", value) for key, value in getattr(obj, "__dict__", {}).items()] if not callable(obj) else []


def _picklable(obj: Any) -> bool:
    try:
        ForkingPickler(io.BytesIO()).dump(obj)
    except Exception:  # noqa: BLE001 - any error means that this part cannot be pickled
        return False
    return True


public_names.complete(__name__)

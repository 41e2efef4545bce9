"""What is pickled, and what an object that cannot be pickled is told.

As `multiprocessing.reduction`: CPython's ForkingPickler. Added: a note that leads to the culprit.
"""

from __future__ import annotations

import io
from multiprocessing.reduction import ForkingPickler
from typing import Any

_DEPTH = 6
_by_value = False


def pickle_by_value(wanted: bool) -> None:
    """Whether functions that have no name of their own are pickled as well, as drop-ins of multiprocessing do."""
    global _by_value  # noqa: PLW0603 - for the whole process
    _by_value = wanted


def dumps(obj: Any) -> bytes:
    """Pickles for another process. An object that cannot be pickled raises what pickle raises, with a note."""
    try:
        return bytes(ForkingPickler.dumps(obj))
    except Exception as e:
        if _by_value:
            from . import main_module  # noqa: PLC0415 - cloudpickle, which is rarely needed

            return main_module.dumps(obj)
        explain(e, obj, "the object")
        raise


def loads(data: bytes) -> Any:
    """What another process has pickled."""
    if not _by_value:
        return ForkingPickler.loads(data)
    from . import main_module  # noqa: PLC0415 - cloudpickle, which is rarely needed

    return main_module.load_object(io.BytesIO(data))


def explain(error: BaseException, obj: Any, name: str) -> None:
    """Adds to the error a note with the path to the innermost part that cannot be pickled, where there is one."""
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
    except Exception:  # noqa: BLE001 - whatever it raises, it is the part we look for
        return False
    return True

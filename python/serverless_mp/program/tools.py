"""Tools that run programs, and live in their processes: debuggers, notebooks' kernels, test runners.

What they set there is for that process: their streams, hooks and handlers know sockets, files and threads of it, and to import
them costs a worker seconds.
"""

from __future__ import annotations

import types
from typing import Any

NAMES = frozenset(
    [
        *("IPython", "_pydev_bundle", "_pydevd_bundle", "_pydevd_frame_eval", "_pytest", "coverage", "debugpy", "ipykernel"),
        *("jupyter_client", "jupyter_core", "matplotlib_inline", "pluggy", "pydev_ipython", "pydevconsole", "pydevd"),
        *("pydevd_file_utils", "pytest", "tornado", "traitlets", "zmq"),
    ]
)


def is_of_tool(value: Any) -> bool:
    """Whether it is an object, a function or a class of a tool."""
    if issubclass(type(value), types.MethodType):
        return is_of_tool(value.__self__)
    if issubclass(type(value), types.ModuleType):
        return value.__name__.partition(".")[0] in NAMES
    owner = value if issubclass(type(value), (types.FunctionType, type)) else type(value)
    return str(getattr(owner, "__module__", "")).partition(".")[0] in NAMES

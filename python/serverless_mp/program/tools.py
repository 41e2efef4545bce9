"""Tools that run programs inside their own processes: debuggers, kernels of notebooks, test runners.

Their settings are for that process: their streams, hooks and handlers refer to its sockets, files and threads, and importing
them costs a worker seconds.
"""

from __future__ import annotations

import types
from typing import Any

from .introspect import attributes

NAMES = frozenset(
    [
        *("IPython", "_pydev_bundle", "_pydevd_bundle", "_pydevd_frame_eval", "_pytest", "coverage", "debugpy", "ipykernel"),
        *("jupyter_client", "jupyter_core", "matplotlib_inline", "pluggy", "pydev_ipython", "pydevconsole", "pydevd"),
        *("pydevd_file_utils", "pytest", "tornado", "traitlets", "zmq"),
    ]
)


def is_of_tool(value: Any) -> bool:
    """Whether a value is an object, a function or a class of a tool."""
    if issubclass(type(value), types.MethodType):
        return is_of_tool(value.__self__)
    if issubclass(type(value), types.ModuleType):
        return str(attributes(value).get("__name__")).partition(".")[0] in NAMES
    owner = value if issubclass(type(value), (types.FunctionType, type)) else type(value)
    return str(getattr(owner, "__module__", "")).partition(".")[0] in NAMES

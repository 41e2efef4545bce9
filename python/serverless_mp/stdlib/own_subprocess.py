"""Names of a copy of the module `subprocess` that is this package's own: programs put mocks into the module itself, and gevent
sets the functions to None by which it starts a process.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subprocess import DEVNULL, PIPE, Popen
else:

    def _copy() -> Any:
        spec = importlib.util.find_spec("subprocess")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    _own = _copy()
    DEVNULL, PIPE, Popen = _own.DEVNULL, _own.PIPE, _own.Popen

__all__ = ["DEVNULL", "PIPE", "Popen"]

"""Python's multiprocessing on workers that share only a store.

There are three ways to use it: `import serverless_mp as multiprocessing`; `serverless_mp.install()` before code that imports
`multiprocessing` itself; `serverless-mp run script.py`.
"""

from . import hash_seed as _hash_seed  # noqa: F401 - first, since the command may start the interpreter again
from . import shadows as _shadows  # noqa: F401 - the same, since it imports past the program's modules

# isort: split
from typing import Any as _Any

from .context import default as _default
from .install import install, uninstall
from .store import report as _report
from .store import session as _session

# The public names of the default context, as CPython's own package takes them.
__all__ = [name for name in dir(_default) if not name.startswith("_")]
globals().update((name, getattr(_default, name)) for name in __all__)
__all__ += ["install", "uninstall"]
_session.report_with(_report.write)
_session.close_at_exit()


def __getattr__(name: str) -> _Any:
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415 - 30 ms that an import does not need

        return metadata.version("serverless_mp")
    if name == "ForkStateWarning":
        from .fork import ForkStateWarning  # noqa: PLC0415 - only for programs that fork

        return ForkStateWarning
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)

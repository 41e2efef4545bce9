# Typed like `multiprocessing`, since it replaces that module.
from collections.abc import Iterable
from multiprocessing import *

from . import aio as aio

__version__: str

class ForkStateWarning(UserWarning):
    """Part of the state of a program does not reach a worker that a forked process would have. Filter it with `warnings`."""

def install(as_: Iterable[str] = ()) -> None:
    """Puts `serverless_mp` behind the name `multiprocessing`, and behind joblib's process backends.

    `as_`: further names to serve, of packages that are drop-ins for multiprocessing. Raises ValueError for a string that is not
    the name of a package, RuntimeError for a package that is imported already.
    """

def uninstall() -> None:
    """Undoes `install()`: the names refer to CPython's objects again."""

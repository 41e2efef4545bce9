# As `multiprocessing` is typed, since it stands in for it.
from collections.abc import Iterable
from multiprocessing import *

from . import aio as aio

__version__: str

class ForkStateWarning(UserWarning):
    """A process that forks would have something that its worker does not get. Filter it with `warnings`."""

def install(as_: Iterable[str] = ()) -> None:
    """Puts `serverless_mp` behind the name `multiprocessing`, and behind joblib's process backends.

    `as_`: further names, of packages that are drop-ins for multiprocessing. Raises ValueError for what is no package's name,
    RuntimeError for a package that is imported already.
    """

def uninstall() -> None:
    """Gives the names back."""

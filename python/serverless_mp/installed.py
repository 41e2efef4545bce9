"""What `install()` has replaced, and the further names that it serves: the state that `uninstall()` and workers ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .integrations.alias import Alias

# Each with its owner, its name and its value before.
replaced: list[tuple[Any, str, Any]] = []
aliases: list[Alias] = []
# The default context of `import serverless_mp as multiprocessing`, which `context` makes.
default: Any = None


def replace(owner: Any, name: str, value: Any) -> None:
    """Sets an attribute, to be given back later."""
    replaced.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)


def give_back() -> None:
    """All attributes as they were."""
    while replaced:
        owner, name, value = replaced.pop()
        setattr(owner, name, value)


def state() -> dict[str, Any]:
    """The state for a worker's `install.restore`, so that it sees the same names as this process."""
    names = [known.name for known in aliases]
    return {"installed": bool(replaced), "as": names, "method": default.get_start_method(allow_none=True)}

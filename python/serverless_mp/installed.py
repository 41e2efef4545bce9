"""What `install()` has replaced, and the further names that it serves: the state that `uninstall()` and workers ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .integrations.alias import Alias

# Each with its owner, its name and its value before.
replaced: list[tuple[Any, str, Any]] = []
aliases: list[Alias] = []
# Whether they are CPython's own, on leaves that need no /dev/shm.
is_native = False
# The default context of `import serverless_mp as multiprocessing`, which `context` makes.
default: Any = None


def replace(owner: Any, name: str, value: Any) -> None:
    """Sets an attribute, to be given back later."""
    replaced.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)


def replace_item(table: dict[str, Any], key: str, value: Any) -> None:
    """Sets an item of a dictionary, to be given back later."""
    replaced.append((table, key, table[key]))
    table[key] = value


def give_back() -> None:
    """All attributes and items as they were."""
    global is_native  # noqa: PLW0603 - one per process
    is_native = False
    while replaced:
        owner, name, value = replaced.pop()
        if isinstance(owner, dict):
            owner[name] = value
        else:
            setattr(owner, name, value)


def state() -> dict[str, Any]:
    """The state for a worker's `install.restore`, so that it sees the same names as this process."""
    names = [known.name for known in aliases]
    return {"installed": bool(replaced), "native": is_native, "as": names, "method": default.get_start_method(allow_none=True)}

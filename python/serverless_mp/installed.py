"""State of `install()`: what it has replaced and which further names it serves. `uninstall()` and workers use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .integrations.alias import Alias

# Each entry: owner, name, and the previous value.
replaced: list[tuple[Any, str, Any]] = []
aliases: list[Alias] = []
# Whether multiprocessing is CPython's own, over primitives that need no /dev/shm.
is_native = False
# The default context of `import serverless_mp as multiprocessing`. The module `context` creates it.
default: Any = None


def context(ctx: Any) -> Any:
    """This context, or the default one if it is None."""
    return default.get_context() if ctx is None else ctx


def is_fork(ctx: Any) -> bool:
    """Whether an object of this context belongs to processes of the start method `fork`."""
    return bool(context(ctx).get_start_method() == "fork")


def replace(owner: Any, name: str, value: Any) -> None:
    """Sets an attribute and records the old value for `give_back`."""
    replaced.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)


def replace_item(table: dict[str, Any], key: str, value: Any) -> None:
    """Sets an item of a dictionary and records the old value for `give_back`."""
    replaced.append((table, key, table[key]))
    table[key] = value


def give_back() -> None:
    """Restores all attributes and items."""
    global is_native  # noqa: PLW0603 - one per process
    is_native = False
    while replaced:
        owner, name, value = replaced.pop()
        if isinstance(owner, dict):
            owner[name] = value
        else:
            setattr(owner, name, value)


def state() -> dict[str, Any]:
    """The state that `install.restore` needs in a worker, so that the worker sees the same names as this process."""
    names = [known.name for known in aliases]
    return {"installed": bool(replaced), "native": is_native, "as": names, "method": default.get_start_method(allow_none=True)}

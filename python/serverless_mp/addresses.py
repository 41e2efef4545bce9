"""Where `serverless-mp up` notes the address of the store that it has made, and where a run finds it."""

from __future__ import annotations

import json
import os
from typing import Any


def path(function: str) -> str:
    """The file of a function's store; only its user may read it, since the address has the password."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(home, "serverless-mp", f"{function}.json")


def read(function: str) -> dict[str, Any] | None:
    """`url`, perhaps `function_url`, `region`, `instance`; None if there is no file. Raises ValueError for a damaged one."""
    try:
        with open(path(function), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as e:
        message = f"{path(function)} cannot be read ({e}): remove it, and `serverless-mp up` says what to do"
        raise ValueError(message) from None


def write(function: str, noted: dict[str, Any]) -> None:
    """In the place of what was there."""
    place = path(function)
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    with open(f"{place}.new", "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(noted, file)
    os.replace(f"{place}.new", place)


def forget(function: str) -> bool:
    """Whether there was one."""
    try:
        os.unlink(path(function))
    except FileNotFoundError:
        return False
    return True

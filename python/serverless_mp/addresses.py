"""The file in which `serverless-mp up` records the address of the store that it has created, and in which a run finds it."""

from __future__ import annotations

import json
import os
from typing import Any


def path(function: str) -> str:
    """The file for a function's store. Only its owner may read it, since the address contains the password."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(home, "serverless-mp", f"{function}.json")


def read(function: str) -> dict[str, Any] | None:
    """A dictionary with `url` and, if recorded, `function_url`, `region` and `instance`; None if this user has no file. Raises
    ValueError for a damaged file.
    """
    try:
        with open(path(function), encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, PermissionError):  # a HOME of another user
        return None
    except (OSError, ValueError) as e:
        message = f"{path(function)} cannot be read ({e}): remove it, and `serverless-mp up` says what to do"
        raise ValueError(message) from None


def is_private(noted: dict[str, Any] | None) -> bool:
    """Whether the store was made by `up --private`. Functions reach such a store at a separate address."""
    return noted is not None and "function_url" in noted


def write(function: str, noted: dict[str, Any]) -> None:
    """Writes the record, replacing an earlier one."""
    place = path(function)
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    with open(f"{place}.new", "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(noted, file)
    os.replace(f"{place}.new", place)


def account_of(session: Any) -> dict[str, str]:
    """The account and region of the store, for the record: `account`, `region`."""
    return {"account": session.client("sts").get_caller_identity()["Account"], "region": session.region_name}


def check(function: str, session: Any) -> None:
    """Raises ValueError if the recorded store is in another account or region than these commands use."""
    noted, here = read(function), account_of(session)
    if noted is not None and {name: noted.get(name) for name in here} != here:
        message = (
            f"the store of {function} is in region {noted.get('region')} of account {noted.get('account')}, and this is "
            f"{here['region']} of {here['account']}: set AWS_REGION and AWS_PROFILE, or remove {path(function)} once it is gone"
        )
        raise ValueError(message)


def forget(function: str) -> bool:
    """Deletes the record. Returns whether there was one."""
    try:
        os.unlink(path(function))
    except FileNotFoundError:
        return False
    return True

"""The environment of a process apart from its code: variables, directory, module search path, versions.

A local worker takes over its caller's environment. On another machine, that machine's own settings stay, paths are translated
into the program's bundle, and the versions of Python and of the packages are compared.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

from serverless_mp import config

from . import bundle, cache

if TYPE_CHECKING:
    from collections.abc import Mapping

_ZONES = "/usr/share/zoneinfo"

# Settings of a machine, not of a program. The bucket is one too: a function's role may have no permission for it.
_MACHINE = {
    "PATH", "HOME", "PWD", "OLDPWD", "SHELL", "SHLVL", "USER", "LOGNAME", "HOSTNAME", "TERM", "TMPDIR", "TMP", "TEMP", "MAIL",
    "DISPLAY", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "CONDA_PREFIX", "_", "_HANDLER", "LANG",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", config.bucket.name,
}  # fmt: skip
_MACHINE_PREFIXES = (
    "AWS_",
    "LAMBDA_",
    "LD_",
    "DYLD_",
    "PYTHON",
    "SSH_",
    "XDG_",
    "DBUS_",
    "_X_AMZN",
    "LC_",
    "CONDA_",
    "PYENV_",
    "PIP_",
)


def describe(environment: dict[str, str]) -> dict[str, Any]:
    """In the parent: the environment for the record of a remote process."""
    return {
        "bundle": bundle.current(),
        "environment": travelling(environment),
        "zone": _zone(environment.get("TZ")),
        "versions": versions(),
        "directory": bundle.original(os.path.realpath(os.getcwd())),
        "main_file": _main_file(),
    }


def take_variables(variables: dict[str, str], zone: bytes | None) -> None:
    """On another machine: takes over the program's variables and time zone, and a home directory."""
    os.environ.update(variables)
    _take_zone(variables.get("TZ"), zone)
    _make_home()


def _zone(name: str | None) -> bytes | None:
    """The rules of the time zone of `TZ`, or of this machine. None for UTC, or if the variable itself contains the rules."""
    path = "/etc/localtime" if name is None else os.path.join(_ZONES, name.removeprefix(":"))
    try:
        rules = Path(path).read_bytes()
    except (OSError, ValueError):
        return None
    return rules if rules.startswith(b"TZif") else None


def _take_zone(name: str | None, rules: bytes | None) -> None:
    """Sets the time zone. Its rules come with the program, since a function may not have them."""
    is_here = name is not None and os.path.exists(os.path.join(_ZONES, name.removeprefix(":")))
    if rules is not None and not is_here:
        path = cache.file(f"zone-{hashlib.sha256(rules).hexdigest()[:32]}", lambda: rules)
        os.environ["TZ"] = f":{path}"
    time.tzset()


def _make_home() -> None:
    """Sets a home directory, since a function's user has none that is writable."""
    if not os.access(os.path.expanduser("~"), os.W_OK):
        os.environ["HOME"] = gettempdir()


def _main_file() -> str | None:
    path = getattr(sys.modules["__main__"], "__file__", None)
    return path and bundle.original(os.path.realpath(path))


def travelling(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that travel with a process, of this environment or that of this process."""
    return {name: value for name, value in (os.environ if environment is None else environment).items() if _travels(name)}


def _travels(name: str) -> bool:
    return name not in _MACHINE and not name.startswith(_MACHINE_PREFIXES)


@functools.cache
def versions() -> dict[str, str]:
    """The versions that must be equal on both sides so that pickles can be read."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "serverless_mp": importlib.metadata.version("serverless_mp"),
        "cloudpickle": importlib.metadata.version("cloudpickle"),
    }


def enter(described: dict[str, Any], preparation: dict[str, Any]) -> None:
    """In a worker: applies the environment, and translates CPython's preparation data to this machine.

    Raises RuntimeError if a version differs.
    """
    here, there = versions(), described["versions"]
    differ = [
        f"{name} {there[name]} in the program, {here[name]} in the function" for name in here if here[name] != there[name]
    ]
    if differ:
        message = f"the program and its function do not fit: {'; '.join(differ)}; run `serverless-mp deploy` from here"
        raise RuntimeError(message)
    take_variables(described["environment"], described["zone"])
    code = bundle.inherit(described["bundle"])
    preparation["sys_path"] = list(dict.fromkeys([*code.search_path(), *sys.path]))
    directory = code.translate(described["directory"]) or next(iter(code.search_path()), os.getcwd())
    os.makedirs(directory, exist_ok=True)  # an empty directory is not in the bundle
    preparation.update(dir=directory, orig_dir=directory, main_file=code.translate(described["main_file"]))
    if "init_main_from_path" in preparation:
        preparation["init_main_from_path"] = preparation["main_file"]

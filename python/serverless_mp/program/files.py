"""The files of the program's directories that are transferred to another machine: none from outside, and no secrets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Names that begin with a dot are skipped as well: version control, settings of tools.
_SKIPPED_DIRECTORIES = {"__pycache__", "node_modules", "site-packages"}
_SKIPPED_SUFFIXES = (".pyc", ".pyo")
_CODE = (".py", ".pyi", ".so", ".pyd")

# Secrets by their names, in any case. Code files of such a name (credentials.py) count as code.
_KEY_SUFFIXES = (".pem", ".key", ".p12", ".pfx", ".ppk", ".jks", ".jceks", ".keystore", ".kdbx", ".env", ".ovpn", ".htpasswd")
_SECRET = re.compile(
    r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?(\.(?!pub$).*)?|\.env(\..*)?|\.?(netrc|pgpass|htpasswd|npmrc|pypirc|dockercfg|git-credentials)"
    r"|(.*[-_.])?credentials?(\.(json|csv|ini|cfg|conf|ya?ml|toml|xml|txt|db|bak|old))?|(.*[-_.])?client_?secrets?([-_.].*)?\.json"
    r"|secrets?\.(json|ini|cfg|conf|ya?ml|toml|xml|txt)|(.*[-_.])?service[-_]?account([-_.].*)?\.json"
)
# Secrets by their content: a private key in the format of PEM, OpenSSH, PGP or PuTTY.
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----|^PuTTY-User-Key-File-")
_EXAMINED = 1 << 20


@dataclass
class Files:
    """The paths that are transferred, and those that are not, each with the reason."""

    paths: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def of_directory(root: str, names: frozenset[str] | None) -> Files:
    """The files below a directory, given by its real path: below these names, or all."""
    found = Files()
    for path in _walk(root, sorted(os.listdir(root) if names is None else names), found, frozenset({root})):
        reason = _secret(path)
        if reason is not None:
            found.left_out.append((path, reason))
        else:
            found.paths.append(path)
    return found


def _walk(root: str, names: list[str], found: Files, above: frozenset[str], folder: str = "") -> Iterator[str]:
    """The files, ordered by name. Links are followed if they lead below the root."""
    for name in names:
        path = os.path.join(folder or root, name)
        real = os.path.realpath(path)
        is_secret = _is_secret_name(name)
        if name.startswith(".") and not (is_secret and os.path.isfile(path)):
            continue
        if os.path.islink(path) and real != root:
            reason = _reason_of_link(root, real)
            if reason is not None:
                if os.path.exists(path):
                    found.left_out.append((path, f"a link to {real}, {reason}"))
                continue
        if os.path.isdir(path):
            if not _is_skipped(path, name) and real not in above:
                yield from _walk(root, sorted(os.listdir(path)), found, above | {real}, path)
        elif os.path.isfile(path) and not name.endswith(_SKIPPED_SUFFIXES):
            if os.access(path, os.R_OK):
                yield path
            else:
                found.left_out.append((path, "it cannot be read"))


def _reason_of_link(root: str, real: str) -> str | None:
    """Why the target of a link is not transferred: for the reasons that apply to the target itself."""
    prefix = root.rstrip(os.sep) + os.sep
    if not real.startswith(prefix):
        return "outside of the program's directory"
    place = root
    for name in real.removeprefix(prefix).split(os.sep):
        place = os.path.join(place, name)
        if _is_secret_name(name):
            return "a secret, by its name"
        if name.startswith(".") or (os.path.isdir(place) and _is_skipped(place, name)):
            return "which does not travel"
    return None


def _is_skipped(path: str, name: str) -> bool:
    is_environment = os.path.exists(os.path.join(path, "pyvenv.cfg"))
    return name in _SKIPPED_DIRECTORIES or is_environment or not os.access(path, os.R_OK | os.X_OK)


def _secret(path: str) -> str | None:
    """The reason why a file may be a secret; None if it is not."""
    if path.endswith(_CODE):
        return None
    if _is_secret_name(os.path.basename(path)):
        return "a secret, by its name"
    with Path(path).open("rb") as file:
        is_key = _PRIVATE_KEY.search(file.read(_EXAMINED)) is not None
    return "it has a private key" if is_key else None


def _is_secret_name(name: str) -> bool:
    name = name.lower()
    return not name.endswith(_CODE) and (name.endswith(_KEY_SUFFIXES) or _SECRET.fullmatch(name) is not None)

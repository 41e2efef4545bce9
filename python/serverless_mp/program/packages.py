"""Third-party packages: those that the program uses must be installed in the function, in a compatible version."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import platform
import sys
import zlib
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from serverless_mp import config

from . import modules
from .introspect import attributes, is_a, module_of


@dataclass(frozen=True)
class Manifest:
    """The content of a function: the version of Python, the packages with their versions, and the options of its deployment."""

    python: str
    versions: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)


def pack(manifest: Manifest) -> str:
    """A manifest as compact text: all environment variables of a function together may have 4 KB."""
    parts = [manifest.python, manifest.versions, manifest.options]
    return base64.b85encode(zlib.compress(json.dumps(parts, sort_keys=True).encode(), 9)).decode()


def unpack(text: str) -> Manifest:
    """The manifest in a text. Raises ValueError for any other text."""
    try:
        return Manifest(*json.loads(zlib.decompress(base64.b85decode(text))))
    except (ValueError, TypeError, zlib.error):
        message = f"{config.DEPLOYED} of the function is damaged: `serverless-mp deploy` writes it again"
        raise ValueError(message) from None


def check(deployed: Manifest, function: str) -> None:
    """Compares with this program. Raises RuntimeError that names both sides of every mismatch."""
    python, theirs = deployed.python, deployed.versions
    here = ".".join(platform.python_version_tuple()[:2])
    problems = []
    if python != here:
        problems.append(f"Python is {here} here and {python} there")
    theirs = {canonicalize_name(name): version for name, version in theirs.items()}
    distributions = importlib.metadata.packages_distributions()
    used = _used_by_program()
    for module in sorted({name.partition(".")[0] for name in sys.modules} & distributions.keys()):
        for distribution in distributions[module]:
            version = importlib.metadata.version(distribution)
            other = theirs.get(canonicalize_name(distribution))
            if module == "packaging" and module not in used:  # loaded here for this comparison
                continue
            if other is None and module in used:
                problems.append(f"{distribution} is {version} here and not there")
            elif other is not None and release(other) != release(version):
                problems.append(f"{distribution} is {version} here and {other} there")
    if problems:
        problems = list(dict.fromkeys(problems))
        message = (
            f"this program and function {function} do not fit: {'; '.join(problems)}. Deploy what is here: `serverless-mp "
            "deploy --requirements FILE`, with every package that the program's processes import"
        )
        raise RuntimeError(message)


def release(version: str) -> Any:
    """The part of a version that must match for pickles to be readable: the epoch and the first two numbers."""
    try:
        parsed = Version(version)
    except InvalidVersion:
        return version.split(".")[:2]
    return parsed.epoch, parsed.major, parsed.minor


def _used_by_program() -> set[str]:
    """Top-level names of the modules that the globals of the program's own modules are, or come from."""
    used = set()
    own = [sys.modules["__main__"], *modules.own_modules().values()]
    for module in [one for one in own if is_a(one, ModuleType)]:
        for value in list(vars(module).values()):
            origin = attributes(value).get("__name__") if is_a(value, ModuleType) else module_of(value)
            if type(origin) is str:
                used.add(origin.partition(".")[0])
    return used


def installed() -> dict[str, str]:
    """The packages that are installed here, with their versions."""
    return {str(canonicalize_name(d.metadata["Name"])): d.version for d in importlib.metadata.distributions()}

"""The current state of a function: a deployment keeps everything that its command line does not name."""

from __future__ import annotations

import contextlib
import importlib.metadata
from typing import TYPE_CHECKING, Any, NamedTuple

from serverless_mp import config
from serverless_mp.program import packages

from .resources import found
from .settings import local_runtime

if TYPE_CHECKING:
    import argparse

# Options that AWS does not keep.
_NOTED = ("interpreter", "glibc", "strip_tests", "in_function", "bucket", "image")


def manifest_of(now: dict[str, Any]) -> packages.Manifest | None:
    """The manifest in a function's configuration; None if there is none or if it is damaged, which a deployment repairs."""
    text = now.get("Environment", {}).get("Variables", {}).get(config.DEPLOYED)
    with contextlib.suppress(ValueError):
        return packages.unpack(text) if text else None
    return None


class Before(NamedTuple):
    """The state of an existing function: the packages that it keeps, as requirements, and `Zip` or `Image`."""

    packages: list[str]
    kind: str | None


def complete(options: argparse.Namespace, session: Any) -> Before:
    """Fills in the options that the command line does not name."""
    now = found(session.client("lambda").get_function_configuration, FunctionName=options.function) or {}
    variables = now.get("Environment", {}).get("Variables", {})
    manifest = manifest_of(now)
    noted = manifest.options if manifest else {}
    for name in _NOTED:
        if getattr(options, name) is None:
            setattr(options, name, noted.get(name))
    if options.image and options.base is None:
        options.base = noted.get("base")
    _default(options, "runtime", now.get("Runtime") or noted.get("runtime"), local_runtime())
    _default(options, "architecture", next(iter(now.get("Architectures", [])), None), None)
    _default(options, "memory", now.get("MemorySize"), 1769)
    _default(options, "timeout", now.get("Timeout"), 900)
    _default(options, "disk", now.get("EphemeralStorage", {}).get("Size"), 512)
    role = now.get("Role", "")
    if options.role is None and role and not role.endswith(f"/{options.function}-worker"):
        options.role = role
    if options.subnets is None and options.security_groups is None:
        network = now.get("VpcConfig", {})
        options.subnets, options.security_groups = network.get("SubnetIds", []), network.get("SecurityGroupIds", [])
    kept = {name: value for name, value in variables.items() if name != config.DEPLOYED}
    options.environment = [f"{name}={value}" for name, value in kept.items()] + options.environment
    if options.requirements is not None or manifest is None:
        return Before([], now.get("PackageType"))
    names = noted.get("requested", [])
    return Before([name if _is_here(name) else f"{name}=={manifest.versions[name]}" for name in names], now.get("PackageType"))


def note(options: argparse.Namespace) -> dict[str, Any]:
    """The options that AWS does not keep, for the next deployment."""
    # A function that is an image has no runtime.
    names = (*_NOTED, "runtime", "base") if options.image else _NOTED
    return {name: getattr(options, name) for name in names if getattr(options, name)}


def _default(options: argparse.Namespace, name: str, now: Any, usual: Any) -> None:
    if getattr(options, name) is None:
        setattr(options, name, now if now is not None else usual)


def _is_here(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True

"""`serverless-mp doctor`: checks whether a run would start, one line for each requirement. These checks need no account.

`BAD` marks a reason for which a run would be refused; `note` marks information.
"""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from serverless_mp import _core, config

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEAST = {"Redis": (7, 0), "Valkey": (7, 2)}


def show(checks: Iterable[tuple[str, str]]) -> int:
    """Prints the checks as they finish. Returns 1 if one is bad, else 0."""
    is_bad = False
    for mark, text in checks:
        sys.stdout.write(f"{mark:4} {text}\n")
        sys.stdout.flush()
        is_bad |= mark == "BAD"
    return int(is_bad)


def local() -> Iterable[tuple[str, str]]:
    """Checks this machine: versions, settings, and the store as seen from here."""
    yield "ok", f"Python {platform.python_version()}, serverless_mp {metadata.version('serverless_mp')}, {platform.platform()}"
    yield memory("here", *_core.Region.are_writes_told())
    for problem in config.unknown():
        yield "note", problem
    try:
        config.check()
        url = config.redis_url()
    except ValueError as e:
        yield "BAD", str(e)
        return
    if url is None:
        yield from _private()
    else:
        yield from _given(url)
        if config.launcher() == "lambda":
            yield "note", _large_arguments()


def memory(place: str, are_told: bool, how: str) -> tuple[str, str]:
    """Describes how a process finds what it has written to large shared memory: whether the kernel tells; how, or why not."""
    if are_told:
        return "ok", f"shared memory {place}: written pages are found by {how}"
    return "note", f"shared memory {place}: each release compares all of it and a copy, since {how}"


def _large_arguments() -> str:
    """Describes where all workers read a large argument from, and how long that takes."""
    from serverless_mp.program import large_arguments  # noqa: PLC0415 - only where it is needed

    machines, least = large_arguments.machines(), large_arguments.through_bucket() / (1 << 20)
    seconds = machines * (100 << 20) / large_arguments.NODE
    text = f"large arguments: {machines} machines read one of 100 MiB from a node of the store in about {seconds:.0f} s"
    if config.bucket() is None:
        return f"{text}; with {config.bucket.name}, those of {least:.0f} MiB or more are read from a bucket"
    return f"{text}; those of {least:.0f} MiB or more are read from the bucket {config.bucket()}"


def _private() -> Iterable[tuple[str, str]]:
    from serverless_mp.store import embedded  # noqa: PLC0415 - only where it is needed

    try:
        yield "ok", f"store: a private one, {embedded.find_server()}; for runs on this machine"
    except (OSError, RuntimeError) as e:
        yield "BAD", f"store: {e}"


def _given(url: str) -> Iterable[tuple[str, str]]:
    place = f"store {config.place(url)} from here"
    try:
        version, policy, seconds = _core.examine_store(url)
    except (OSError, ValueError) as e:
        yield "BAD", f"{place}: {e}"
        return
    yield "ok", f"{place}: {version}, {_security(url)}, {seconds * 1000:.2f} ms a round trip"
    name, _, number = version.partition(" ")
    found = tuple(map(int, re.findall(r"\d+", number)[:2]))
    if name in _LEAST and found < _LEAST[name]:
        least = ".".join(map(str, _LEAST[name]))
        yield "BAD", f"store: {version} is too old: {name} {least} or newer is needed"
    if policy is not None:
        yield "BAD", f"store: maxmemory-policy {policy} throws locks and queues away: set it to noeviction"


def _security(url: str) -> str:
    scheme, query = urlsplit(url).scheme, parse_qs(urlsplit(url).query)
    if "+unix" in scheme or scheme == "unix":
        return "a socket of this machine"
    if not scheme.startswith(("rediss", "valkeys")):
        return "no TLS"
    return "TLS with an authority of its own" if query.keys() & {"ca", "ssl_ca_certs"} else "TLS"

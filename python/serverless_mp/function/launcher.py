"""The launcher whose workers run in AWS Lambda: chosen, checked before anything is launched, and its bill."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from serverless_mp import _core, config
from serverless_mp.program import packages
from serverless_mp.store import session

from . import credentials, pids

# USD, us-east-1, 2026 (aws.amazon.com/lambda/pricing): for a GB-second by architecture, and for a request.
_PRICES = {"x86_64": 1.66667e-5, "arm64": 1.33334e-5}
_REQUEST_PRICE = 2e-7
# How long the last answers are waited for: they say how long the invocations took.
_LAST_ANSWERS = 2.0

_LOOPBACK = ("localhost", "127.", "::1", "[::1]")

_invoker: tuple[int, Any, dict[str, Any]] | None = None
_launched = 0
# In a worker: the program, which launches for it.
_program: Any = None


def launch_through(program: str) -> None:
    """Has the processes of this worker launched by the program: a worker has no right and perhaps no way to Lambda's API."""
    global _program  # noqa: PLW0603 - one per process
    _program = _core.Program(program)


def invoker() -> Any:
    """The function's launcher. Raises ValueError or RuntimeError, which say what to do, before anything is launched."""
    global _invoker  # noqa: PLW0603 - one per process
    if _program is not None:
        return _program
    if _invoker is None or _invoker[0] != os.getpid():
        if not hasattr(_core, "Lambda"):
            message = "this build of serverless_mp has no launcher for AWS: build it with the feature `aws`"
            raise RuntimeError(message)
        patience = config.start_timeout(), config.stall_timeout()
        found = _core.Lambda(config.function(), config.packing(), *patience, config.function_redis_url(), credentials.command())
        _check_store(found.endpoint)
        description = json.loads(found.describe())
        _check_function(description)
        _invoker = (os.getpid(), found, description)
        session.report_with(report)
        pids.forward_interrupts()
    return _invoker[1]


def launched(job: Any) -> None:
    """Notes a process, for its signals and the bill."""
    global _launched  # noqa: PLW0603 - one per process
    _launched += 1
    pids.know(job)


def _check_store(endpoint: str | None) -> None:
    """A function elsewhere cannot reach a store that only this machine can."""
    if endpoint is not None and _is_loopback(urlsplit(endpoint).hostname or ""):
        return
    here = config.redis_url()
    url = here and (config.function_redis_url() or here)
    if url is None or url.startswith("redis+unix:") or _is_loopback(urlsplit(url).hostname or ""):
        what = "a private store of this machine" if url is None else config.place(url)
        message = (
            f"the store is {what}, which no Lambda function can reach; set {config.redis_url.name} to a Redis or Valkey that "
            "both this machine and the function reach (`serverless-mp up` makes one), and, where the function reaches it by "
            f"another address, {config.function_redis_url.name} to that"
        )
        raise ValueError(message)


def _is_loopback(host: str) -> bool:
    return host.startswith(_LOOPBACK)


def _check_function(description: dict[str, Any]) -> None:
    if description["state"] == "Failed":
        message = f"function {config.function()} is in state Failed: {description['reason']}; `serverless-mp deploy` mends it"
        raise RuntimeError(message)
    manifest = (description["environment"] or {}).get(config.DEPLOYED)
    if manifest:
        packages.check(packages.unpack(manifest), config.function())


def report() -> None:
    """One line on standard error at the end of a run: what it took, and what that costs about."""
    if _invoker is None or _invoker[0] != os.getpid() or not _launched or config.bill() == "off":
        return
    _, found, description = _invoker
    last = time.monotonic() + _LAST_ANSWERS
    while (figures := found.usage())[2] and time.monotonic() < last:
        time.sleep(0.01)
    invocations, milliseconds, open_ones = figures
    gigabyte_seconds = milliseconds / 1000 * description["memory"] / 1024
    price = gigabyte_seconds * _PRICES.get(description["architecture"], max(_PRICES.values())) + invocations * _REQUEST_PRICE
    unfinished = f" ({open_ones} still running)" if open_ones else ""
    sys.stderr.write(
        f"serverless-mp: {_launched} processes in {invocations} invocations of {config.function()} ({description['memory']} MB)"
        f"{unfinished}: {gigabyte_seconds:.2f} GB-s, about ${price:.6f}\n"
    )

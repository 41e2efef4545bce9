"""The launcher whose workers run in AWS Lambda: its choice, checks before the first launch, and the cost of a run."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from serverless_mp import _core, config
from serverless_mp.program import packages
from serverless_mp.store import session

from . import credentials, pids

if TYPE_CHECKING:
    from collections.abc import Iterator

# USD, us-east-1, 2026 (aws.amazon.com/lambda/pricing): per GB-second by architecture, and per request.
_PRICES = {"x86_64": 1.66667e-5, "arm64": 1.33334e-5}
_REQUEST_PRICE = 2e-7
# The seconds to wait for the last answers, which contain the durations of the invocations.
_LAST_ANSWERS = 2.0

_LOOPBACK = ("localhost", "127.", "::1", "[::1]")

_invoker: tuple[int, Any, dict[str, Any]] | None = None
_launched = 0
# In a worker: the program, which launches processes for it.
_program: Any = None


def launch_through(program: str) -> None:
    """Makes the program launch this worker's processes: a worker has no permission for Lambda's API, perhaps no route."""
    global _program  # noqa: PLW0603 - one per process
    _program = _core.Program(program)


def invoker() -> Any:
    """The launcher of the function. Raises ValueError or RuntimeError with a remedy before anything is launched."""
    global _invoker  # noqa: PLW0603 - one per process
    if _program is not None:
        return _program
    if _invoker is None or _invoker[0] != os.getpid():
        if not hasattr(_core, "Lambda"):
            message = "this build of serverless_mp has no launcher for AWS: build it with the feature `aws`"
            raise RuntimeError(message)
        timeouts = config.start_timeout(), config.stall_timeout()
        found = _core.Lambda(config.function(), config.packing(), *timeouts, config.function_redis_url(), credentials.command())
        _check_store(found.endpoint)
        description = json.loads(found.describe())
        _check_function(description)
        _invoker = (os.getpid(), found, description)
        session.report_with(report)
        pids.forward_interrupts()
    return _invoker[1]


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Tells the launcher of the function that a process is about to be launched, which may share an invocation."""
    found = invoker()
    if found is _program:  # each process of a worker has an invocation of its own
        yield
        return
    found.note_start(True)
    try:
        yield
    finally:
        found.note_start(False)


def launched(job: Any) -> None:
    """Records a process, for signals and for the cost."""
    global _launched  # noqa: PLW0603 - one per process
    _launched += 1
    pids.know(job)


def _check_store(endpoint: str | None) -> None:
    """Raises an error for a store that a function elsewhere cannot reach."""
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
    """Prints one line on standard error at the end of a run: its usage and its approximate cost."""
    if _invoker is None or _invoker[0] != os.getpid() or not _launched or config.bill() == "off":
        return
    _, found, description = _invoker
    last = time.monotonic() + _LAST_ANSWERS
    invocations, milliseconds, open_ones = found.usage()
    while open_ones and time.monotonic() < last:
        time.sleep(0.01)
        invocations, milliseconds, open_ones = found.usage()
    gigabyte_seconds = milliseconds / 1000 * description["memory"] / 1024
    price = gigabyte_seconds * _PRICES.get(description["architecture"], max(_PRICES.values())) + invocations * _REQUEST_PRICE
    unfinished = f" ({open_ones} still running)" if open_ones else ""
    sys.stderr.write(
        f"serverless-mp: {_launched} processes in {invocations} invocations of {config.function()} ({description['memory']} MB)"
        f"{unfinished}: {gigabyte_seconds:.2f} GB-s, about ${price:.6f}\n"
    )

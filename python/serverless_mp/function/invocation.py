"""The Lambda function: its handler makes a supervisor run the jobs of an event, each in a process of its own.

No code of a program runs in the handler's process or in the zygote from which its workers are forked. A warm environment
therefore carries nothing from one process to the next except the cache of read-only content and, for the same program, the
installed packages that it has imported.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import time
from typing import Any

from serverless_mp import _core
from serverless_mp.local import launcher

# Time to live in ms of the keys of a doctor's trial, in case it is interrupted.
_TRIAL = 10_000

# In the documented order of AWS: the function's code and its layers come before the packages of the runtime.
launcher.use_search_path(sys.path)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs the processes of the event, and returns when they have ended."""
    if "serverless_mp" not in event:
        message = "this function runs processes of serverless_mp programs; it is invoked by them, with their own events"
        raise ValueError(message)
    wanted = event["serverless_mp"]
    if wanted == "describe":
        return {"serverless_mp": describe(event.get("url"))}
    left = context.get_remaining_time_in_millis() / 1000
    wanted["limit"] = round(left)
    return {"serverless_mp": _run(wanted, left)}


def _run(event: dict[str, Any], left: float) -> dict[str, Any]:
    report, theirs = os.pipe()
    wanted = {"supervisor": True, "event": event, "deadline": time.monotonic() + left, "streams": [1, 2]}
    with open(report, "rb") as answer:
        try:
            # Both streams go to the log: some runtimes do not allow writing to standard output.
            _, exited = launcher.request(launcher.launch_environment() | wanted, [2, 2, theirs])
        finally:
            os.close(theirs)
        with exited:
            text = answer.read()
            code = exited.recv(4)
    if not text:
        # All processes of the invocation end with the zygote; the next invocation starts a new one.
        launcher.stop()
        message = f"the supervisor of the workers ended with {int.from_bytes(code, 'little', signed=True)}"
        raise RuntimeError(message)
    return json.loads(text)


def describe(url: str | None) -> dict[str, Any]:
    """The versions here, how shared memory works, and whether the store can be reached, for `serverless-mp doctor`."""
    problem = None
    if url is not None:
        try:
            _core.open_session(url, _TRIAL)
            _core.close_session()
        except (OSError, ValueError) as e:
            problem = str(e)
    return {
        "store": problem,
        "memory": _core.Region.are_writes_told(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()},
    }

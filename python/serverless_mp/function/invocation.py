"""The Lambda function: its handler has a supervisor run the jobs of an event, in processes of their own.

Nothing of a program ever runs in the handler's process, and the zygote that its workers are forked from has no code
of a program either: a warm environment carries nothing from one process to the next but the cache of read-only content.
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

# Time to live, in ms, of what the doctor's trial leaves behind if it is interrupted.
_TRIAL = 10_000

# In AWS' documented order: the function's code and its layers come before the runtime's own packages.
launcher.use_search_path(sys.path)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers when the event's processes have ended."""
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
            # Both streams are the log: in some runtimes standard output is not ours to write to.
            _, exited = launcher.request(launcher.launch_environment() | wanted, [2, 2, theirs])
        finally:
            os.close(theirs)
        with exited:
            text = answer.read()
            code = exited.recv(4)
    if not text:
        # Whatever it had begun ends with the zygote; the next invocation gets a new one.
        launcher.stop()
        message = f"the supervisor of the workers ended with {int.from_bytes(code, 'little', signed=True)}"
        raise RuntimeError(message)
    return json.loads(text)


def describe(url: str | None) -> dict[str, Any]:
    """The versions here, and whether the store is reached: for `serverless-mp doctor`."""
    problem = None
    if url is not None:
        try:
            _core.open_session(url, _TRIAL)
            _core.close_session()
        except (OSError, ValueError) as e:
            problem = str(e)
    return {
        "store": problem,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()},
    }

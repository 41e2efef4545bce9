"""The summary of a run: which processes ran, where, for how long, and their requests to the store.

The process that opened the session writes it as JSON to the file that `SERVERLESS_MP_SUMMARY` names. A worker leaves its
figures in the store when it ends. For a worker that was killed, only the figures of its parent are available.
"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from serverless_mp import _core, config

_begun = time.time()
_started: dict[int, dict[str, Any]] = {}


def check() -> None:
    """Raises ValueError if the file cannot be written, before the program runs."""
    path = config.summary()
    if path:
        try:
            with open(path, "a", encoding="utf-8"):
                pass
        except OSError as e:
            message = f"the summary cannot be written to {path}: {e.strerror}"
            raise ValueError(message) from None


def started(job: Any) -> None:
    """Notes a process that this one has started."""
    if config.summary() is not None:
        _started[job.pid] = {"pid": job.pid, "launcher": job.launcher, "began": time.time(), "exitcode": None}


def ended(job: Any, code: int) -> None:
    """Notes the exit code and duration of a process."""
    if job.pid in _started:
        _started[job.pid].update(exitcode=code, wall_s=round(time.time() - _started[job.pid]["began"], 3))


def worker_ends() -> None:
    """In a worker: sends its figures to the owner of the session."""
    if config.summary() is not None:
        _core.Channel.of_session(1).post([json.dumps([*_started.values(), _own()]).encode()])


def write() -> None:
    """In the owner of the session, before the session ends: collects the figures and writes the file."""
    path = config.summary()
    if not path:
        return
    processes = dict(_started)
    if _core.is_open():
        inbox = _core.Channel.of_session(0)
        while (data := inbox.recv(block=False)) is not None:
            for figures in json.loads(data):
                processes.setdefault(figures["pid"], {}).update(
                    {key: value for key, value in figures.items() if value is not None}
                )
    own = _own()
    for figures in processes.values():
        figures.pop("began", None)
    total = [own, *processes.values()]
    report = {
        "wall_s": round(time.time() - _begun, 3),
        "main": own,
        "processes": sorted(processes.values(), key=lambda p: p["pid"]),
        "store_commands": sum(p.get("store_commands", 0) for p in total),
        "store_bytes": sum(p.get("store_bytes", 0) for p in total),
    }
    Path(path).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _own() -> dict[str, Any]:
    times = os.times()
    counters = _core.counters() if _core.is_open() else {}
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "cpu_s": round(times.user + times.system, 3),
        "store_commands": counters.get("commands", 0),
        "store_bytes": counters.get("bytes", 0),
    }

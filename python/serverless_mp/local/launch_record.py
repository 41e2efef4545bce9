"""The launch record: the part of a request to the zygote that is meant for the worker."""

from __future__ import annotations

from typing import NamedTuple


class Remote(NamedTuple):
    """The additional data for a worker in a function."""

    # The claimant of the job: the attempt of the invocation, and its supervisor.
    claimant: str
    # The time, by `time.monotonic`, after which it begins nothing new.
    retires_at: float
    # The process id that the program uses for it.
    pid: int
    # The directory of the environment's cache.
    cache: str
    # The program's process, which launches the processes that this one starts.
    program: str


class Launch(NamedTuple):
    """The session to join, and the job to run in it."""

    session: str
    key: bytes
    url: str
    # Time to live of the session's keys in ms; 0 means no limit.
    ttl: int
    seal_memory: bool
    # The id of the launching process, and the id of the new one.
    parent: str
    process: str
    job: str
    # How often a task of a pool may be begun.
    attempts: int
    # Whether the first descriptor is that of CPython's resource tracker.
    has_tracker: bool = False
    remote: Remote | None = None

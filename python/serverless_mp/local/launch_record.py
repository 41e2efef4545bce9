"""The launch record: what a worker is told by the zygote's request."""

from __future__ import annotations

from typing import NamedTuple


class Remote(NamedTuple):
    """The part of a worker in a function."""

    # The claimant of the job: the invocation's attempt and its supervisor.
    claimant: str
    # The time, by `time.monotonic`, from which on it begins nothing new.
    retires_at: float
    # The id by which the program knows the process.
    pid: int
    # The directory of the environment's cache.
    cache: str
    # The process of the program, which launches what this one starts.
    program: str


class Launch(NamedTuple):
    """The session to join, and the job to run in it."""

    session: str
    key: bytes
    url: str
    # Time to live of the session's keys, in ms; 0: no limit.
    ttl: int
    seal_memory: bool
    # The id of the process that launches it, and the one that it is to have.
    parent: str
    process: str
    job: str
    # How often a pool's task is begun.
    attempts: int
    # Whether the descriptors begin with that of CPython's resource tracker.
    has_tracker: bool = False
    remote: Remote | None = None

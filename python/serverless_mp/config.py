"""The settings, all from environment variables; each is read where it is used, so that a program can set it first."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from . import _core

URL = "SERVERLESS_MP_REDIS_URL"
WORKERS = "SERVERLESS_MP_WORKERS"
LEASE = "SERVERLESS_MP_LEASE"
ATTEMPTS = "SERVERLESS_MP_TASK_ATTEMPTS"
LARGE = "SERVERLESS_MP_LARGE_ARGUMENT"
LAUNCHER = "SERVERLESS_MP_LAUNCHER"
FUNCTION = "SERVERLESS_MP_FUNCTION"
PACKING = "SERVERLESS_MP_PROCESSES_PER_FUNCTION"
BUCKET = "SERVERLESS_MP_BUCKET"
S3_ARGUMENT = "SERVERLESS_MP_S3_ARGUMENT"
PIPE_SIZE = "SERVERLESS_MP_PIPE_SIZE"
START_TIMEOUT = "SERVERLESS_MP_START_TIMEOUT"
BILL = "SERVERLESS_MP_BILL"
OWN_PACKAGES = "SERVERLESS_MP_OWN_PACKAGES"

LAUNCHERS = ("local", "lambda")


# The store notes the count in one digit.
_MOST_ATTEMPTS = 9


def redis_url() -> str | None:
    """The store to use, or None for a private one. Raises ValueError for a URL that is of no valid form."""
    url = os.environ.get(URL) or None
    if url is not None:
        _core.check_url(url)
    return url


def workers() -> int:
    """How many workers `cpu_count()` promises: the setting, else the processors of this machine."""
    return _positive(WORKERS, os.cpu_count() or 1)


def lease() -> int:
    """Seconds that the keys of a session in an outside store outlive their owner."""
    return _positive(LEASE, 30)


def attempts() -> int:
    """How often a pool's task is begun when its worker dies."""
    return min(_positive(ATTEMPTS, 2), _MOST_ATTEMPTS)


def large_argument() -> int:
    """Bytes from which on a buffer in a joblib task, or an argument of remote processes, travels once for all."""
    return _positive(LARGE, 1 << 16)


def launcher() -> str:
    """Where processes run: "local" or "lambda"."""
    name = os.environ.get(LAUNCHER) or "local"
    if name not in LAUNCHERS:
        message = f"{LAUNCHER} is {name!r}; it must be one of {', '.join(LAUNCHERS)} (or unset: local)"
        raise ValueError(message)
    return name


def function() -> str:
    """The Lambda function that workers are invocations of: a name or an ARN."""
    return os.environ.get(FUNCTION) or "serverless-mp"


def packing() -> int:
    """How many processes share an invocation."""
    return _positive(PACKING, 1)


def start_timeout() -> int:
    """Seconds that a process waits for an invocation while Lambda has none to give."""
    return _positive(START_TIMEOUT, 300)


def bill() -> bool:
    """Whether a run ends with a line on standard error that says what it cost."""
    value = os.environ.get(BILL, "on")
    if value not in {"on", "off"}:
        message = f"{BILL} is {value!r}: must be on or off"
        raise ValueError(message)
    return value == "on"


def pipe_size() -> int:
    """Bytes that a pipe or queue holds for one end, about, before its senders wait."""
    return _positive(PIPE_SIZE, 16 << 20)


def own_packages() -> list[str]:
    """Installed packages that are the program's own all the same: their state and their code travel."""
    return [name.strip() for name in os.environ.get(OWN_PACKAGES, "").split(",") if name.strip()]


def bucket() -> str | None:
    """The S3 bucket for very large arguments, if there is one."""
    return os.environ.get(BUCKET) or None


def s3_argument() -> int:
    """Bytes from which on an argument of remote processes goes through the bucket."""
    return _positive(S3_ARGUMENT, 64 << 20)


def place(url: str) -> str:
    """A store's URL without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def check() -> None:
    """Raises ValueError for a setting that cannot be used."""
    for setting in (
        redis_url,
        workers,
        lease,
        attempts,
        large_argument,
        launcher,
        packing,
        start_timeout,
        bill,
        pipe_size,
        s3_argument,
    ):
        setting()


def _positive(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        message = f"{name} is {text!r}; it must be a whole number of 1 or more (or unset: {default})"
        raise ValueError(message)
    return int(text)

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
# Beyond these a number is a mistake: processes, seconds (a month), bytes.
_MOST_PROCESSES, _MOST_SECONDS, _MOST_BYTES = 100_000, 30 * 86400, 1 << 40
_PREFIX = "SERVERLESS_MP_"
# What others set: the summary's file, what a deployment leaves in its function, tests.
_OTHERS = (f"{_PREFIX}SUMMARY", f"{_PREFIX}DEPLOYED", f"{_PREFIX}TEST_")


def redis_url() -> str | None:
    """The store to use, or None for a private one. Raises ValueError for a URL that is of no valid form."""
    url = os.environ.get(URL) or None
    if url is not None:
        _core.check_url(url)
    return url


def workers() -> int:
    """How many workers `cpu_count()` promises: the setting, else the processors of this machine."""
    return _positive(WORKERS, os.cpu_count() or 1, _MOST_PROCESSES)


def lease() -> int:
    """Seconds that the keys of a session in an outside store outlive their owner."""
    return _positive(LEASE, 30, _MOST_SECONDS)


def attempts() -> int:
    """How often a pool's task is begun when its worker dies."""
    return _positive(ATTEMPTS, 2, _MOST_ATTEMPTS)


def large_argument() -> int:
    """Bytes from which on a buffer in a joblib task, or an argument of remote processes, travels once for all."""
    return _positive(LARGE, 1 << 16, _MOST_BYTES)


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
    return _positive(PACKING, 1, _MOST_PROCESSES)


def start_timeout() -> int:
    """Seconds that a process waits for an invocation while Lambda has none to give."""
    return _positive(START_TIMEOUT, 300, _MOST_SECONDS)


def bill() -> bool:
    """Whether a run ends with a line on standard error that says what it cost."""
    value = os.environ.get(BILL, "on")
    if value not in {"on", "off"}:
        message = f"{BILL} is {value!r}: must be on or off"
        raise ValueError(message)
    return value == "on"


def pipe_size() -> int:
    """Bytes that a pipe or queue holds for one end, about, before its senders wait."""
    return _positive(PIPE_SIZE, 16 << 20, _MOST_BYTES)


def own_packages() -> list[str]:
    """Installed packages that are the program's own all the same: their state and their code travel."""
    return [name.strip() for name in os.environ.get(OWN_PACKAGES, "").split(",") if name.strip()]


def bucket() -> str | None:
    """The S3 bucket for very large arguments, if there is one."""
    return os.environ.get(BUCKET) or None


def s3_argument() -> int:
    """Bytes from which on an argument of remote processes goes through the bucket."""
    return _positive(S3_ARGUMENT, 64 << 20, _MOST_BYTES)


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


def _positive(name: str, default: int, most: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        message = f"{name} is {text[:50]!r}; it must be a whole number from 1 to {most} (or unset: {default})"
        raise ValueError(message)
    return int(text)


def unknown() -> list[str]:
    """Variables that look like settings and are none, each with what may have been meant."""
    import difflib  # noqa: PLC0415 - rarely needed

    known = {value for value in globals().values() if isinstance(value, str) and value.startswith(_PREFIX) and value != _PREFIX}
    found = [name for name in os.environ if name.startswith(_PREFIX) and name not in known and not name.startswith(_OTHERS)]
    close = {name: difflib.get_close_matches(name, known, 1) for name in found}
    return [f"{name} is no setting" + (f": {close[name][0]} is" if close[name] else "") for name in found]

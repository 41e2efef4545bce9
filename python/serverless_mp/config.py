"""The settings: environment variables, each read where it is used, so that a program can set it first.

`SETTINGS` is the one table of them. It gives the values, the checks, the text of `serverless-mp settings` and the page of the
documentation.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from . import _core, addresses

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_PREFIX = "SERVERLESS_MP_"
# In a function's environment: what `serverless-mp deploy` notes of it.
DEPLOYED = f"{_PREFIX}DEPLOYED"
# Variables that others set: a deployment in its function, tests.
_OTHERS = (DEPLOYED, f"{_PREFIX}TEST_")
LAUNCHERS = ("local", "lambda", "native")
# The store notes the count in one digit.
_MOST_ATTEMPTS = 9
# A supervisor has four descriptors for each of its workers.
_MOST_SHARING = 128
# Beyond these a number is a mistake: processes, seconds (a month), bytes.
_MOST_PROCESSES, _MOST_SECONDS, _MOST_BYTES = 100_000, 30 * 86400, 1 << 40


class Setting(NamedTuple, Generic[T]):
    """One setting; calling it gives its value.

    `default` is the value where the variable is unset or empty, `shown` is how a text names it. `parse` takes the variable's
    name and text, and raises ValueError for what cannot be used.
    """

    name: str
    parse: Callable[[str, str], T]
    default: Callable[[], T]
    shown: str
    text: str

    def __call__(self) -> T:
        """Its value. Raises ValueError, which names the variable and what it may be."""
        text = os.environ.get(self.name)
        return self.parse(self.name, text) if text else self.default()


def _number(suffix: str, default: int | Callable[[], int], most: int, text: str, shown: str = "") -> Setting[int]:
    """A whole number from 1 on."""
    shown = shown or str(default)

    def parse(name: str, value: str) -> int:
        if not value.isascii() or not value.isdecimal() or len(value) > len(str(most)) or not 1 <= int(value) <= most:
            message = f"{name} is {value[:50]!r}; it must be a whole number from 1 to {most} (or unset: {shown})"
            raise ValueError(message)
        return int(value)

    return Setting(_PREFIX + suffix, parse, default if callable(default) else lambda: default, shown, text)


def _choice(suffix: str, choices: tuple[str, ...], text: str) -> Setting[str]:
    """One of some words; the first is the default."""

    def parse(name: str, value: str) -> str:
        if value not in choices:
            message = f"{name} is {value!r}; it must be one of {', '.join(choices)} (or unset: {choices[0]})"
            raise ValueError(message)
        return value

    return Setting(_PREFIX + suffix, parse, lambda: choices[0], choices[0], text)


def _text(suffix: str, default: T, text: str) -> Setting[str | T]:
    return Setting(_PREFIX + suffix, lambda _, value: value, lambda: default, str(default or "none"), text)


def _address(_: str, value: str) -> str:
    _core.check_url(value)
    return value


def _names(_: str, value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


# Large packages that are imported alone: they start no thread that outlives a fork, and draw no random numbers of their own.
_PRELOADED = ("numpy", "scipy", "pandas", "sklearn", "joblib", "pandarallel", "dask", "torch", "gymnasium")


def _packages(_: str, value: str) -> list[str]:
    return [] if value == "none" else _names(_, value)


def _noted_by_up(name: str) -> str | None:
    """On Lambda the store that `serverless-mp up` has made for the function is found, if no other is named."""
    if launcher() != "lambda" or os.environ.get(f"{_PREFIX}REDIS_URL"):
        return None
    return (addresses.read(function()) or {}).get(name)


redis_url: Setting[str | None] = Setting(
    f"{_PREFIX}REDIS_URL",
    _address,
    lambda: _noted_by_up("url"),
    "a private store; on Lambda that of `serverless-mp up`",
    "The store: `redis://[user:password@]host:port/db`, `rediss://` (TLS; `?ssl_ca_certs=FILE` names the certificate of an "
    "authority of your own, `server_name=NAME` whom the store's is for), "
    "`redis+unix:///path?pass=…`, `redis+cluster://host:port[,host:port]` or `rediss+cluster://`. Redis 7.0 or newer, Valkey "
    "7.2 or newer, with `maxmemory-policy noeviction`.",
)
workers = _number(
    "WORKERS",
    lambda: os.cpu_count() or 1,
    _MOST_PROCESSES,
    "The number of workers that `cpu_count()` promises: a pool's default size (`run --workers` sets it).",
    "the processors",
)
lease = _number("LEASE", 30, _MOST_SECONDS, "Seconds that the keys in an outside store outlive a killed program.")
attempts = _number("TASK_ATTEMPTS", 2, _MOST_ATTEMPTS, "How often a pool's task is begun when its worker dies.")
pipe_size = _number(
    "PIPE_SIZE", 16 << 20, _MOST_BYTES, "Bytes, about, that a pipe or queue holds for one end before its senders wait."
)
needs_persistence = _choice(
    "NEEDS_PERSISTENCE",
    ("0", "1"),
    "1: an outside store must keep an append-only file, so that its restart ends no session; one that does not is refused.",
)
seal_memory = _choice(
    "SEAL_MEMORY",
    ("0", "1"),
    "1: shared memory is encrypted as messages are, and travels by whole pieces of 64 KiB; processes that write to the same "
    "piece without a lock then wait for each other.",
)
large_argument = _number(
    "LARGE_ARGUMENT",
    1 << 16,
    _MOST_BYTES,
    "Bytes from which on a buffer in a joblib task, or an argument of a remote process, is stored once for all.",
)
own_packages: Setting[list[str]] = Setting(
    f"{_PREFIX}OWN_PACKAGES",
    _names,
    list,
    "none",
    "Installed packages, with commas between, that are the program's own: their code and all of their state travel.",
)
preload: Setting[list[str]] = Setting(
    f"{_PREFIX}PRELOAD",
    _packages,
    lambda: list(_PRELOADED),
    ",".join(_PRELOADED),
    "Installed packages, with commas between, that are imported once for the workers of this machine, if the program has "
    "imported them when it starts its first process; `none` for none. `set_forkserver_preload` adds to them.",
)
summary = _text("SUMMARY", None, "A file for the summary of the run, as JSON (`run --summary` sets it).")
launcher = _choice(
    "LAUNCHER",
    LAUNCHERS,
    "Where processes run (`run --on` sets it): on this machine, as invocations of a function, or `native`: as CPython's own "
    "children without a store, on a machine that has no /dev/shm. In a plain Lambda function unset means `native`.",
)
function_redis_url: Setting[str | None] = Setting(
    f"{_PREFIX}FUNCTION_REDIS_URL",
    _address,
    lambda: _noted_by_up("function_url"),
    "the store's address here",
    "The same store's address for functions, where theirs is another one: here it may be a tunnel's end.",
)
function = _text("FUNCTION", "serverless-mp", "The function: its name or ARN (`run --function` sets it).")
packing = _number(
    "PROCESSES_PER_FUNCTION",
    1,
    _MOST_SHARING,
    "How many processes share an invocation. An environment has 1,024 descriptors, and at most 6 processors.",
)
start_timeout = _number(
    "START_TIMEOUT", 300, _MOST_SECONDS, "Seconds that a process waits for an invocation while none of the program runs."
)
stall_timeout = _number(
    "STALL_TIMEOUT",
    900,
    _MOST_SECONDS,
    "Seconds that it waits while none begins or ends: the others may wait for it. Longer than any process may run.",
)
# 0: never.
idle_timeout = _number(
    "IDLE_TIMEOUT",
    0,
    _MOST_SECONDS,
    "Seconds after which a pool's worker without a task ends; another takes its place when there is one. On Lambda waiting is "
    "billed.",
    "none",
)
bucket = _text("BUCKET", None, "An S3 bucket for very large arguments.")
s3_argument = _number(
    "S3_ARGUMENT",
    0,
    _MOST_BYTES,
    "Bytes from which on an argument travels through the bucket.",
    "where all workers together would read more than a node of the store sends in a second; `doctor` says from when",
)
bill = _choice("BILL", ("on", "off"), "Whether a run on Lambda ends with a line on standard error that says what it cost.")
log = _choice(
    "LOG",
    ("off", "error", "info", "debug"),
    "What the core tells on standard error: connections, retries, waits above 1 s, claims, ends.",
)

SETTINGS: tuple[Setting[Any], ...] = (
    *(
        redis_url,
        workers,
        lease,
        needs_persistence,
        attempts,
        pipe_size,
        seal_memory,
        large_argument,
        own_packages,
        preload,
        summary,
    ),
    *(
        launcher,
        function,
        function_redis_url,
        packing,
        start_timeout,
        stall_timeout,
        idle_timeout,
        bucket,
        s3_argument,
        bill,
        log,
    ),
)


def place(url: str) -> str:
    """A store's URL without its password."""
    scheme, _, rest = url.partition("://")
    head, _, query = rest.partition("?")
    # A password may have anything in it.
    return f"{scheme}://{(rest if '@' in query else head).rpartition('@')[2]}"


def check() -> None:
    """Raises ValueError for a setting that cannot be used."""
    for setting in SETTINGS:
        setting()


def unknown() -> list[str]:
    """Variables that look like settings and are none, each with what may have been meant."""
    import difflib  # noqa: PLC0415 - rarely needed

    known = [setting.name for setting in SETTINGS]
    found = [name for name in os.environ if name.startswith(_PREFIX) and name not in known and not name.startswith(_OTHERS)]
    close = {name: difflib.get_close_matches(name, known, 1) for name in found}
    return [f"{name} is no setting" + (f": {close[name][0]} is" if close[name] else "") for name in found]


def as_markdown() -> str:
    """The table as a page of the documentation shows it."""
    rows = [f"| `{setting.name}` | {setting.shown} | {setting.text} |" for setting in SETTINGS]
    return "\n".join(["| variable | default | |", "|---|---|---|", *rows, ""])

"""The settings: environment variables. Each is read where it is used, so that a program can set it first.

`SETTINGS` is the one table of all settings. Values, checks, the output of `serverless-mp settings` and the page of the
documentation come from it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from . import _core, addresses

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_PREFIX = "SERVERLESS_MP_"
# Set in a function's environment by `serverless-mp deploy`.
DEPLOYED = f"{_PREFIX}DEPLOYED"
# Variables that are not settings: those that a deployment sets in its function, and those of tests.
_OTHERS = (DEPLOYED, f"{_PREFIX}TEST_")
LAUNCHERS = ("local", "lambda", "native")
# The store keeps the count in one digit.
_MOST_ATTEMPTS = 9
# A supervisor needs four descriptors for each of its workers.
_MOST_SHARING = 128
# Higher values are taken as mistakes: processes, seconds (a month), bytes.
_MOST_PROCESSES, _MOST_SECONDS, _MOST_BYTES = 100_000, 30 * 86400, 1 << 40


class Setting(NamedTuple, Generic[T]):
    """One setting. Calling it returns its value.

    `default` gives the value if the variable is unset or empty; `shown` describes that default in texts. `parse` takes the
    variable's name and text, and raises ValueError for an unusable text.
    """

    name: str
    parse: Callable[[str, str], T]
    default: Callable[[], T]
    shown: str
    text: str

    def __call__(self) -> T:
        """The value. Raises ValueError with a message that names the variable and the valid values."""
        text = os.environ.get(self.name)
        return self.parse(self.name, text) if text else self.default()


def _number(suffix: str, default: int | Callable[[], int], most: int, text: str, shown: str = "") -> Setting[int]:
    """A whole number of at least 1."""
    shown = shown or str(default)

    def parse(name: str, value: str) -> int:
        if not value.isascii() or not value.isdecimal() or len(value) > len(str(most)) or not 1 <= int(value) <= most:
            message = f"{name} is {value[:50]!r}; it must be a whole number from 1 to {most} (or unset: {shown})"
            raise ValueError(message)
        return int(value)

    return Setting(_PREFIX + suffix, parse, default if callable(default) else lambda: default, shown, text)


def _choice(suffix: str, choices: tuple[str, ...], text: str) -> Setting[str]:
    """One of several words. The first is the default."""

    def parse(name: str, value: str) -> str:
        if value not in choices:
            message = f"{name} is {value!r}; it must be one of {', '.join(choices)} (or unset: {choices[0]})"
            raise ValueError(message)
        return value

    return Setting(_PREFIX + suffix, parse, lambda: choices[0], choices[0], text)


def _text(suffix: str, default: T, text: str) -> Setting[str | T]:
    return Setting(_PREFIX + suffix, lambda _, value: value, lambda: default, str(default or "none"), text)


def _address(name: str, value: str) -> str:
    try:
        _core.check_url(value)
    except ValueError as e:  # it names the variable of the program's own address
        raise ValueError(str(e).replace(redis_url.name, name)) from None
    return value


def _names(_: str, value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


# Large packages that are imported in advance: importing them starts no thread that outlives a fork and draws no random numbers.
_PRELOADED = (
    *("numpy", "scipy", "pandas", "sklearn", "joblib", "pandarallel", "dask", "distributed", "torch", "gymnasium", "pyarrow"),
    *("h5py", "xarray", "numba", "networkx", "skimage", "cv2", "astropy", "lightgbm", "xgboost", "optuna", "shap", "nltk"),
    *("matplotlib", "seaborn", "plotly", "sqlalchemy", "boto3"),
)


def _packages(_: str, value: str) -> list[str]:
    return [] if value == "none" else _names(_, value)


def _noted_by_up(name: str) -> str | None:
    """The address that `serverless-mp up` has recorded for the function. It is used on Lambda if no other store is set."""
    if launcher() != "lambda" or os.environ.get(f"{_PREFIX}REDIS_URL"):
        return None
    return (addresses.read(function()) or {}).get(name)


redis_url: Setting[str | None] = Setting(
    f"{_PREFIX}REDIS_URL",
    _address,
    lambda: _noted_by_up("url"),
    "a private store; on Lambda that of `serverless-mp up`",
    "The store: `redis://[user:password@]host:port/db`, `rediss://` (TLS; `?ssl_ca_certs=FILE` names the certificate of an "
    "authority of your own, `server_name=NAME` the name in the store's own certificate), "
    "`redis+unix:///path?pass=…`, `redis+cluster://host:port[,host:port]` or `rediss+cluster://`. Redis 7.0 or newer, Valkey "
    "7.2 or newer, with `maxmemory-policy noeviction`.",
)
workers = _number(
    "WORKERS",
    lambda: os.cpu_count() or 1,
    _MOST_PROCESSES,
    "The number of workers that `cpu_count()` returns: a pool's default size (`run --workers` sets it).",
    "the processors",
)
lease = _number("LEASE", 30, _MOST_SECONDS, "Seconds that the keys in an outside store outlive a killed program.")
attempts = _number("TASK_ATTEMPTS", 2, _MOST_ATTEMPTS, "How many times a pool's task is begun if its workers die.")
pipe_size = _number(
    "PIPE_SIZE", 16 << 20, _MOST_BYTES, "Roughly how many bytes a pipe or queue holds for one end before its senders wait."
)
needs_persistence = _choice(
    "NEEDS_PERSISTENCE",
    ("0", "1"),
    "1: an outside store must keep an append-only file, so that its restart ends no session; a store without one is refused.",
)
seal_memory = _choice(
    "SEAL_MEMORY",
    ("0", "1"),
    "1: shared memory is encrypted as messages are, and transferred in whole pieces of 64 KiB; processes that write to the "
    "same piece without a lock then wait for each other.",
)
robust_locks = _choice(
    "ROBUST_LOCKS",
    ("0", "1"),
    "1: a lock that is made from now on is free again when a process that holds it ends or is killed. What the lock protects "
    "may then be half done.",
)
large_argument = _number(
    "LARGE_ARGUMENT",
    1 << 16,
    _MOST_BYTES,
    "Size in bytes from which a buffer in a joblib task, or an argument of a remote process, is stored once for all workers.",
)
own_packages: Setting[list[str]] = Setting(
    f"{_PREFIX}OWN_PACKAGES",
    _names,
    list,
    "none",
    "Installed packages, separated by commas, that count as the program's own: workers get their code and all of their state.",
)
preload: Setting[list[str]] = Setting(
    f"{_PREFIX}PRELOAD",
    _packages,
    lambda: list(_PRELOADED),
    ",".join(_PRELOADED),
    "Installed packages, separated by commas, that are imported once for the workers of this machine, and once for the "
    "processes of each environment of a function, if the program has imported them when it starts its first process; `none` "
    "for none. `set_forkserver_preload` adds to them. Unless this is set, workers of this machine that fork also find "
    "other large packages imported that the program's modules name.",
)
summary = _text("SUMMARY", None, "A file for the summary of the run, as JSON (`run --summary` sets it).")
launcher = _choice(
    "LAUNCHER",
    LAUNCHERS,
    "Where processes run (`run --on` sets it). `local`: on this machine; `lambda`: as invocations of a function; `native`: as "
    "CPython's own children without a store, on a machine without /dev/shm. In a plain Lambda function unset means `native`.",
)
function_redis_url: Setting[str | None] = Setting(
    f"{_PREFIX}FUNCTION_REDIS_URL",
    _address,
    lambda: _noted_by_up("function_url"),
    "the store's address here",
    "The address of the same store for functions, if it differs from the one here, which may be the end of a tunnel.",
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
    "Seconds that a process waits for an invocation while none of the program begins or ends: those that run may wait for "
    "this one. Set it longer than any process runs.",
)
# The default 0 means never.
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
    "Size in bytes from which an argument is transferred through the bucket.",
    "where all workers together would read more than a node of the store sends in a second; `doctor` prints the size",
)
bill = _choice("BILL", ("on", "off"), "Whether a run on Lambda ends with a line on standard error about its cost.")
log = _choice(
    "LOG",
    ("off", "error", "info", "debug"),
    "What the core logs to standard error: connections, retries, waits above 1 s, claims, ends.",
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
        robust_locks,
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
    # A password may contain any character, "?" included.
    return f"{scheme}://{(rest if '@' in query else head).rpartition('@')[2]}"


def check() -> None:
    """Raises ValueError for a setting that cannot be used."""
    for setting in SETTINGS:
        setting()


def unknown() -> list[str]:
    """Messages about variables that look like settings but are not, each with the name that was probably meant."""
    known = [setting.name for setting in SETTINGS]
    found = [name for name in os.environ if name.startswith(_PREFIX) and name not in known and not name.startswith(_OTHERS)]
    if not found:
        return []
    import difflib  # noqa: PLC0415 - rarely needed

    # Names are compared without the prefix, which all of them have in common.
    suffixes = [name.removeprefix(_PREFIX) for name in known]
    close = {name: difflib.get_close_matches(name.removeprefix(_PREFIX), suffixes, 1) for name in found}
    return [f"{name} is no setting" + (f": {_PREFIX}{close[name][0]} is" if close[name] else "") for name in found]


def as_markdown() -> str:
    """The table, as a page of the documentation shows it."""
    rows = [f"| `{setting.name}` | {setting.shown} | {setting.text} |" for setting in SETTINGS]
    return "\n".join(["| variable | default | |", "|---|---|---|", *rows, ""])

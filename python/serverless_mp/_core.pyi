"""The objects of multiprocessing over a store that speaks the Redis protocol, implemented in Rust.

Everything here needs a session: a program opens it with `open_session`, a worker joins it with `join_session`. Besides the
exceptions named below, every call may raise ConnectionError (the store cannot be reached, refuses the client, or "session
lost": it no longer has the object), RuntimeError (there is no session, or it has ended), and whatever a signal handler of the
program raises.

Times are in seconds; None means no limit. An `id` names an object in its session. A constructor that is given an `id` attaches
to that object; otherwise it creates an object. An object exists as long as any process holds a handle on it.
"""

import weakref
from collections.abc import Callable
from typing import Any, Final, Self, final

from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "EXIT_TIME_LIMIT",
    "Acquiring",
    "Barrier",
    "Channel",
    "Condition",
    "CountDownLatch",
    "Job",
    "Lambda",
    "NativeSemLock",
    "Program",
    "Region",
    "SemLock",
    "TaskQueue",
    "acquire",
    "address_of",
    "adopt_orphans",
    "after_fork",
    "after_fork_in_parent",
    "before_fork",
    "bind_name",
    "check_url",
    "claimant",
    "close_session",
    "counters",
    "die_with_parent",
    "drop_blob",
    "examine_store",
    "find_name",
    "get_blob",
    "is_lost",
    "is_open",
    "join_session",
    "leave_session",
    "load_roots",
    "look_around",
    "new_id",
    "note_waits",
    "open_session",
    "publish",
    "put_blob",
    "read_blob",
    "read_command",
    "referent",
    "return_loans",
    "send_death",
    "send_output",
    "session_info",
    "settle",
    "store_connections",
    "try_store",
    "unbind_name",
]

EXIT_TIME_LIMIT: Final[int]
"""Exit code of a process that was ended by the time limit of its function."""

@final
class Acquiring:
    """Acquires a lock for an asyncio task, on a thread of its own and in turn with all other waiters.

    The lock is released again if the task does not call `finish`.
    """

    def __new__(cls, lock: SemLock) -> Acquiring: ...
    def fileno(self) -> int:
        """A descriptor that becomes readable when the wait has ended."""
    def cancel(self) -> None:
        """Ends the wait and releases the lock, unless `finish` was called."""
    def finish(self) -> None:
        """Gives the lock to the task. Raises what the wait has raised, and RuntimeError before its end or when called twice."""

@final
class SemLock:
    """A lock or semaphore, with the methods of `_multiprocessing.SemLock`. Until it is shared, it exists in this process only.

    Once it is shared, an uncontended `acquire` takes one round trip; `release` of a unit that this process holds does not wait;
    a recursive `acquire` sends nothing.
    """

    SEM_VALUE_MAX: Final[int]
    def __new__(
        cls, kind: int, value: int, maxvalue: int, *, id: str | None = None, beside: str | None = None, robust: bool = False
    ) -> SemLock: ...
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    def share(self) -> None:
        """Puts the lock into the store, so that other processes can attach to it."""

    @property
    def handle(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def maxvalue(self) -> int: ...
    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes one unit. Returns False if none becomes free in time."""
    def release(self) -> None:
        """Gives one unit back. Raises ValueError above the maximum, AssertionError for a recursive lock of another thread."""
    def post(self) -> None:
        """Gives back, without waiting, one unit that another process has taken."""
    def __enter__(self) -> bool: ...
    def __exit__(self, *_args: object) -> None: ...
    def _count(self) -> int: ...
    def _is_mine(self) -> bool: ...
    def _get_value(self) -> int: ...
    def _is_zero(self) -> bool: ...
    def _after_fork(self) -> None: ...

@final
class NativeSemLock:
    """A lock or semaphore of this machine, with the methods of `_multiprocessing.SemLock`. It uses no store."""

    SEM_VALUE_MAX: Final[int]
    SIZE: Final[int]
    def __new__(cls, kind: int, value: int | None, maxvalue: int, name: str | None = None, fd: int | None = None) -> Self:
        """`fd`: a file of `SIZE` bytes that holds the shared state; without it, only forked processes share the lock. `value`
        None: the file is initialised already.
        """
    @property
    def handle(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def maxvalue(self) -> int: ...
    @property
    def name(self) -> str | None: ...
    @property
    def acquire(self) -> Callable[..., bool]:
        """The function `acquire(block=True, timeout=None)`: takes one unit; returns False if none becomes free in time."""
    @property
    def release(self) -> Callable[[], None]:
        """The function `release()`: gives one unit back. Raises ValueError above the maximum, AssertionError for a recursive
        lock of another thread.
        """
    def _acquire(self, block: bool = True, timeout: float | None = None) -> bool: ...
    def _release(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, _kind: object = None, _value: object = None, _trace: object = None) -> None: ...
    def _count(self) -> int: ...
    def _is_mine(self) -> bool: ...
    def _get_value(self) -> int: ...
    def _is_zero(self) -> bool: ...
    def _after_fork(self) -> None: ...

@final
class Condition:
    """The waiters of a condition, stored under the hash tag of its lock."""

    def __new__(cls, lock: SemLock, *, id: str | None = None) -> Condition: ...
    @property
    def id(self) -> str: ...
    def wait(self, lock: SemLock, timeout: float | None = None) -> bool:
        """Releases the lock, waits, acquires it again: two round trips besides the wait. Returns False on timeout."""
    def notify(self, n: int) -> None:
        """Wakes up to n waiters, in one round trip."""
    def waiting(self) -> int:
        """The number of waiters."""

@final
class CountDownLatch:
    """A counter whose waiters continue when it is zero: the state of an event, or the unfinished tasks of a queue."""

    def __new__(cls, count: int, *, id: str | None = None) -> CountDownLatch: ...
    @property
    def id(self) -> str: ...
    def put(self, count: int) -> None:
        """Sets the count, in one round trip."""
    def add(self, amount: int) -> None:
        """Adds to the count: no round trip, or one if `amount` is negative. Raises ValueError if the count would fall below
        zero.
        """
    def is_zero(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the count is zero. Returns False on timeout."""

@final
class Barrier:
    """The state of a barrier: arrival, release and breaking."""

    def __new__(cls, parties: int, *, id: str | None = None) -> Barrier: ...
    @property
    def id(self) -> str: ...
    def wait(self, action: bool, timeout: float | None = None) -> tuple[int, str]:
        """Arrives. Returns the index of this party, and `ok`, `broken` or `act`: on `act` the caller runs the action and calls
        `end`.
        """
    def end(self, how: str) -> None:
        """`how` is `go` (after the action), `break` or `reset`."""
    def state(self) -> tuple[int, bool]:
        """The number of waiting parties, and whether the barrier is broken."""

@final
class Channel:
    """One end, 0 or 1, of a pipe of messages.

    Raises BrokenPipeError if no process holds the other end; EOFError if no process holds it and everything sent from it was
    received; ValueError for a message whose seal does not open, which is then dropped.
    """

    def __new__(cls, id: str, end: int) -> Channel: ...
    @staticmethod
    def of_process(process: str, end: int) -> Channel:
        """One end of the pipe of events that each process of the session has. The process reads from end 0."""
    @staticmethod
    def of_session(end: int) -> Channel:
        """One end of the session's own pipe. The owner of the session reads from end 0."""
    @staticmethod
    def pair(bound: int) -> tuple[Channel, Channel]:
        """Both ends of a new pipe. `bound`: roughly how many bytes it holds for each end before a sender waits."""
    @property
    def id(self) -> str: ...
    @property
    def end(self) -> int: ...
    def send(self, payload: bytes) -> None:
        """Sends a message and waits until the store has it: one round trip if the pipe has room."""

    def wait_for_capacity(self) -> None:
        """Waits while the pipe is full. Asks the store once per MiB that was posted. `post` never waits."""

    def post(self, payloads: list[bytes]) -> None:
        """Sends messages in order and in one step, without waiting."""
    def recv(self, block: bool = True, timeout: float | None = None) -> bytes | None:
        """The next message, in one round trip. Returns None if there is none in time."""
    def poll(self, timeout: float | None = ...) -> bool:
        """Whether a message or the end of file can be read, in one round trip."""
    def __len__(self) -> int:
        """The number of messages that can be received."""
    @staticmethod
    def filenos(channels: list[Channel]) -> tuple[list[int], bool]:
        """The `fileno()` of each channel, and whether one of them is readable: one round trip in total, in a cluster one per
        channel.
        """
    def fileno(self, *, look: bool = True) -> int:
        """A file descriptor that is readable while a message or the end of file can be read. It costs a thread and a
        connection. Without `look` there is no round trip, and the descriptor may become readable only a moment later.
        """
    def close(self) -> None: ...
    def transfer_ref(self, holder: str) -> None:
        """Keeps this end alive for a handle that travels in a message. `holder` names the handle."""
    def accept_ref(self, holder: str) -> None:
        """Takes over the reference of `holder`: the handle has arrived here."""

@final
class TaskQueue:
    """One side of a pool's queue of tasks and results. One thread of the pool reads the results. Raises the same exceptions as
    Channel.

    A task is acknowledged by its result. If a worker dies before that, the task is given to another worker, up to the limit of
    attempts.
    """

    def __new__(cls, id: str) -> TaskQueue:
        """The workers' side of an existing queue."""
    @staticmethod
    def pair(bound: int) -> tuple[TaskQueue, TaskQueue]:
        """The pool's side and the workers' side of a new queue. `bound`: roughly how many bytes of tasks it holds before
        `put_tasks` waits.
        """
    @property
    def id(self) -> str: ...
    def put_tasks(self, payloads: list[bytes]) -> None:
        """Sends tasks in order. Waits only while the queue is full."""
    def take_one_by_one(self) -> None:
        """From now on a worker takes one task at a time: the tasks that are put next may wait for one another. Until then it
        may take several short ones.
        """
    def get_task(self, timeout: float | None = None) -> bytes | None:
        """The next task, in one round trip; None if there is none in time. The task stays in work until this thread puts its
        result.
        """
    def discard_task(self) -> bool:
        """On the workers' side: removes a task that is not to run any more. Returns False if there is none."""
    def put_result(self, payload: bytes, most: int) -> bool:
        """Sends the result of the last task that this thread got, without waiting. The same step may take up to `most` tasks,
        which the next calls of `get_task` return; several only if tasks are short. Tasks that are not begun within 20 ms go
        back. Returns whether tasks were taken or requested; then the caller must get the next one.
        """
    def get_results(self) -> list[tuple[bytes, int | None]]:
        """Waits for a result, and takes up to 256 more that are available. A task that has used up its attempts appears in
        place of its result, with the exit code of its last worker.
        """
    def post(self, payload: bytes) -> None:
        """Sends a message that is neither task nor result to the other side, without waiting."""

@final
class Region:
    """A span of shared memory that supports the buffer protocol: each process that holds it has a real buffer.

    Until it is shared, it is plain memory of this process. Once it is shared, acquiring operations of the other classes refresh
    it and releasing operations publish what was written; see docs/design/memory.md.
    """

    def __new__(cls, size: int, *, id: str | None = None) -> Region: ...
    @property
    def id(self) -> str: ...
    def share(self) -> None:
        """Puts the region into the store, so that other processes can attach to it."""

    @property
    def size(self) -> int:
        """The size in bytes."""

    @property
    def address(self) -> int:
        """Where its memory begins."""
    @property
    def exports(self) -> int:
        """The number of buffers of the region that are in use."""
    @staticmethod
    def are_writes_told() -> tuple[bool, str]:
        """Whether the kernel tells which pages of a large region were written, and how, or why not."""
    def sync(self) -> None:
        """Publishes what this process has written and fetches what others have published, without any other synchronisation."""
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Job:
    """One process, from its record in the store to its exit code."""

    @staticmethod
    def start(
        job: str,
        worker: str,
        record: bytes,
        event: bytes,
        launcher: str | Lambda | Program,
        *,
        holds: list[tuple[str, int]],
        descriptors: list[int],
        attempts: int,
        preload: str,
    ) -> Job:
        """Writes the record of a job and launches a worker for it: `launcher` is the path of the zygote's socket, a function,
        or the program (for the processes of its workers). `job` and `worker` are new ids of the job and of the worker's
        process.

        `holds`: ends of objects that the record refers to; from now on the child holds them. `event` and `descriptors` are sent
        to a worker of this machine. `preload` names what a worker in a function may have imported already; '' for nothing.
        """
    @property
    def pid(self) -> int: ...
    @property
    def launcher(self) -> str: ...
    @property
    def sentinel(self) -> int:
        """A file descriptor that is readable once the process has ended."""
    def has_ended(self) -> bool: ...
    @staticmethod
    def count_ended() -> int:
        """How many jobs of this process have ended."""
    def exitcode(self) -> int | None:
        """None while the process runs; negative if a signal ended it. No round trip."""
    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the end of the process. Returns None on timeout."""
    def signal(self, signum: int) -> None:
        """Sends a signal to a remote process. SIGINT, SIGTERM and SIGKILL end a process that no worker has begun."""
    @staticmethod
    def claim(id: str, claimant: str) -> bytes | None:
        """In the worker: takes the record of the job, once. Returns None if another worker has it, or if the job was ended
        before it began.
        """
    @staticmethod
    def finish(id: str, parent: str, code: int, attempts: int) -> None:
        """In the worker: writes the exit record, after everything else that the worker has sent."""

@final
class Program:
    """The program as the launcher of its workers' own processes, named by the id of its process."""

    def __new__(cls, process: str) -> Self: ...

@final
class Lambda:
    """The AWS Lambda function whose invocations are workers."""

    def __new__(
        cls, function: str, packing: int, start_timeout: int, stall_timeout: int, url: str | None, credentials: str | None
    ) -> Self:
        """`function`: a name or an ARN. `packing`: how many processes share an invocation. `url`: the address of the store as
        the function sees it, if it differs. `credentials`: a command that prints credentials as a `credential_process` of AWS
        does, for credentials that the core does not find itself.

        While Lambda starts no further invocation, a process waits `start_timeout` seconds during which none of the program
        runs, and `stall_timeout` seconds during which none begins or ends.

        Reads the configuration of AWS. Raises ValueError without a region.
        """
    @property
    def endpoint(self) -> str | None:
        """The URL of Lambda's API if it is not the default of AWS."""
    def describe(self) -> str:
        """The configuration of the function, as JSON. Raises RuntimeError, whose message names the remedy, if it cannot be
        read.
        """
    def note_start(self, begins: bool) -> None:
        """Notes that the start of a process begins or ends: an invocation waits for processes that are about to share it."""
    def usage(self) -> tuple[int, int, int]:
        """The number of invocations so far, their milliseconds, and the number of those not answered yet."""

def is_lost() -> bool:
    """Whether this process has found its session gone. A store that merely does not answer may answer later."""

def is_open() -> bool:
    """Whether this process has a session."""

def check_url(url: str) -> None:
    """Raises ValueError, which lists the valid forms, for the URL of a store that cannot be used."""

def try_store(url: str) -> None:
    """Connects once. Raises ConnectionError, with the reason, if that fails within 4 seconds."""

def examine_store(url: str) -> tuple[str, str | None, float]:
    """The name of a store with its version; its `maxmemory-policy` if that evicts keys, else None; and the median of some round
    trips in seconds. Raises ConnectionError if the store cannot be reached.
    """

def store_connections() -> tuple[int, int] | None:
    """The number of connections of the session's store, and its maximum. None if the store does not tell."""

def open_session(url: str, ttl: int, *, seal_memory: bool = False, needs_persistence: bool = False) -> None:
    """Opens a session. `ttl`: milliseconds for which its keys outlive this process; 0 in a private store. `seal_memory`:
    whether shared memory is encrypted too. Raises ValueError for a store that evicts keys, is a replica, or has no append-only
    file although `needs_persistence`.
    """

def join_session(
    session: str,
    key: bytes,
    url: str,
    ttl: int,
    seal_memory: bool,
    process: str,
    parent: str,
    *,
    is_supervisor: bool = False,
) -> None:
    """In a worker: joins the session as the process that its parent named.

    The supervisor of remote workers has a lease of its own, by which their parent knows that it is alive.
    """

def leave_session() -> None:
    """Leaves the session, at the end of a supervisor."""

def send_output(parent: str, job: str, is_error: bool, bytes: bytes) -> None:
    """Sends output of a job to the process that started it, without waiting."""

def claimant(attempt: str, supervisor: str) -> str:
    """Returns the claimant of a supervisor's workers, for `Job.claim` and `send_death`. `attempt`: the id of the invocation."""

def send_death(parent: str, job: str, code: int, claimant: str, message: str) -> None:
    """Tells the process that started a job that the job died without an exit record. `claimant`: the attempt that had claimed
    it; `message`: a text for the user.
    """

def read_command(command: bytes) -> tuple[str, int] | None:
    """Decodes a command for the supervisor of remote workers: a job and a signal for it; None if their parent has ended.

    Raises RuntimeError for anything else.
    """

def session_info() -> dict[str, Any]:
    """The fields of `store.session.Info`."""

def close_session() -> None:
    """Ends the session. Its keys are deleted from an outside store."""

def before_fork() -> None:
    """Before the program calls `fork()`: puts into the store the locks and memory that only this process knows."""

def after_fork_in_parent() -> None:
    """After the program's `fork()`, in the parent."""

def after_fork() -> None:
    """After the program's `fork()`, in the child: starts with a state of its own and leaves the inherited one untouched."""

def return_loans() -> None:
    """Gives the locks back that are lent to this process, with what was written under them."""

def settle() -> None:
    """Waits until the store has received everything that was sent without waiting."""

def publish() -> str:
    """Publishes what this process has written to shared memory, and waits until the store has received everything that was sent
    without waiting. Returns the versions to send along with a message that does not go through the store.
    """

def address_of(buffer: ReadableBuffer) -> int:
    """The address of the first element of an object with a buffer, which may be read-only or have gaps. Raises BufferError for
    an object that gives none at this time, TypeError for one that has none.
    """

def referent(reference: weakref.ReferenceType[Any] | weakref.ProxyType[Any]) -> Any:
    """The object behind a weak reference or a proxy, or None. None of its code runs. Raises TypeError for other objects."""

def acquire(versions: str) -> None:
    """Fetches what is stale by the versions that came with such a message."""

def look_around() -> None:
    """Fetches what other processes have written to shared memory by now."""

def counters() -> dict[str, int]:
    """What this process has sent: the number of `commands`, of `bytes`, and of `round_trips`, the waits for the store."""

def note_waits(waits: list[tuple[str, str]], idle: list[tuple[str, str]]) -> None:
    """Tells the functions in which a thread only waits, and those whose threads are idle if they wait there: the file and
    the name of each.
    """

def new_id() -> str:
    """16 hexadecimal digits that are unique in the session."""

def put_blob(name: str, payload: ReadableBuffer) -> None:
    """Stores bytes under a name."""

def read_blob(name: str, buffer: WriteableBuffer) -> None:
    """Reads the bytes of a name into a buffer of exactly their size."""

def drop_blob(name: str) -> None:
    """Deletes the bytes of a name."""

def bind_name(name: str, region: str, size: int) -> bool:
    """Gives a name to a region, which exists until the name is removed. Returns False if the name belongs to another region."""

def find_name(name: str) -> tuple[str, int] | None:
    """The id and the size in bytes of the region with this name; None if there is none."""

def unbind_name(name: str) -> bool:
    """Removes a name. Returns False if it does not exist."""

def get_blob(name: str) -> bytes:
    """Reads the bytes that `put_blob` has stored under a name."""

def adopt_orphans() -> None:
    """On Linux: makes this process the parent of its descendants whose own parent ends."""

def load_roots() -> None:
    """Reads the root certificates for TLS, for this process and the processes that it forks. Raises OSError if that fails."""

def die_with_parent() -> None:
    """On Linux: the kernel kills this process when its parent ends."""

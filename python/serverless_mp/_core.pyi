"""The leaves of multiprocessing over a store that speaks Redis, in Rust.

Everything here needs a session: `open_session` in the program, `join_session` in a worker. Beside what is named below, every
call may raise ConnectionError (the store cannot be reached, does not let us in, or "session lost": it no longer has the
object), RuntimeError (there is no session, or it has ended), and what a signal handler of the program raises.

Times are in seconds; None waits for ever. An `id` names an object in its session; where a constructor takes one it attaches
to that object, else it makes a new one. An object lives while any process holds a handle on it.
"""

from collections.abc import Callable
from typing import Final, Self, final

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
    "new_id",
    "open_session",
    "put_blob",
    "read_blob",
    "read_command",
    "send_death",
    "send_output",
    "session_info",
    "settle",
    "store_connections",
    "try_store",
    "unbind_name",
]

EXIT_TIME_LIMIT: Final[int]
"""Exit code of a process that the time limit of its function has ended."""

@final
class Acquiring:
    """A lock that a thread takes for a task of asyncio, in turn with all other waiters. One that does not arrive is given back."""

    def __new__(cls, lock: SemLock) -> Acquiring: ...
    def fileno(self) -> int:
        """A descriptor that is readable when the wait has ended."""
    def cancel(self) -> None:
        """Ends the wait and gives the lock back, unless the task has it."""
    def finish(self) -> None:
        """The task has the lock. Raises what the wait has raised; RuntimeError before its end and after a first call."""

@final
class SemLock:
    """A lock or semaphore, with the methods of `_multiprocessing.SemLock`. One that was never shared is this process' alone.

    Of others an uncontended `acquire` waits for one round trip, `release` of what this process holds for none, a recursive
    `acquire` sends nothing.
    """

    SEM_VALUE_MAX: Final[int]
    def __new__(cls, kind: int, value: int, maxvalue: int, *, id: str | None = None, beside: str | None = None) -> SemLock: ...
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    def share(self) -> None:
        """The store has it from now on: others may attach to it."""

    @property
    def handle(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def maxvalue(self) -> int: ...
    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes one unit; False when it is not there in time."""
    def release(self) -> None:
        """One unit back. ValueError beyond the maximum; AssertionError for a recursive lock of another thread."""
    def post(self) -> None:
        """One unit back that another process has taken, without waiting."""
    def __enter__(self) -> bool: ...
    def __exit__(self, *_args: object) -> None: ...
    def _count(self) -> int: ...
    def _is_mine(self) -> bool: ...
    def _get_value(self) -> int: ...
    def _is_zero(self) -> bool: ...
    def _after_fork(self) -> None: ...

@final
class NativeSemLock:
    """A lock or semaphore of this machine, with the methods of `_multiprocessing.SemLock`: it asks no store."""

    SEM_VALUE_MAX: Final[int]
    SIZE: Final[int]
    def __new__(cls, kind: int, value: int | None, maxvalue: int, name: str | None = None, fd: int | None = None) -> Self:
        """`fd`: a file of `SIZE` bytes to be shared; without one only forks share it. `value` None: the file has it already."""
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
        """A function, as of a method `acquire(block=True, timeout=None)`: takes one unit; False if it is not there in time."""
    @property
    def release(self) -> Callable[[], None]:
        """The same: one unit back. ValueError beyond the maximum; AssertionError for a recursive lock of another thread."""
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
    """The waiters of a condition, under the hash tag of its lock."""

    def __new__(cls, lock: SemLock, *, id: str | None = None) -> Condition: ...
    @property
    def id(self) -> str: ...
    def wait(self, lock: SemLock, timeout: float | None = None) -> bool:
        """Gives the lock back, waits, takes it again: two round trips beside the sleep. False when the time was over."""
    def notify(self, n: int) -> None:
        """Wakes up to n waiters: one round trip."""
    def waiting(self) -> int:
        """How many wait."""

@final
class CountDownLatch:
    """A count whose waiters pass when it is zero: an event, or the unfinished tasks of a queue."""

    def __new__(cls, count: int, *, id: str | None = None) -> CountDownLatch: ...
    @property
    def id(self) -> str: ...
    def put(self, count: int) -> None:
        """Sets the count: one round trip."""
    def add(self, amount: int) -> None:
        """Adds to it: no round trip, or one for a negative amount. ValueError where it would fall below zero."""
    def is_zero(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is zero; False when the time was over."""

@final
class Barrier:
    """Arrival, release and breaking of a barrier."""

    def __new__(cls, parties: int, *, id: str | None = None) -> Barrier: ...
    @property
    def id(self) -> str: ...
    def wait(self, action: bool, timeout: float | None = None) -> tuple[int, str]:
        """This party's index, and `ok`, `broken`, or `act`: the caller is to run the action and then to call `end`."""
    def end(self, how: str) -> None:
        """`go` after the action, `break`, or `reset`."""
    def state(self) -> tuple[int, bool]:
        """How many wait, and whether it is broken."""

@final
class Channel:
    """One end, 0 or 1, of a pipe of messages. BrokenPipeError: nobody holds the other end. EOFError: nobody holds it and
    everything it sent was taken. ValueError: a message whose seal does not open, which is then gone.
    """

    def __new__(cls, id: str, end: int) -> Channel: ...
    @staticmethod
    def of_process(process: str, end: int) -> Channel:
        """An end of the pipe of events that each process of the session has; the process reads from end 0."""
    @staticmethod
    def of_session(end: int) -> Channel:
        """An end of the pipe that the session itself has; its owner reads from end 0."""
    @staticmethod
    def pair(bound: int) -> tuple[Channel, Channel]:
        """Both ends of a new pipe. `bound`: about how many bytes it holds for each end before a sender waits."""
    @property
    def id(self) -> str: ...
    @property
    def end(self) -> int: ...
    def send(self, payload: bytes) -> None:
        """Sends a message and waits until the store has it: one round trip, if there is room."""

    def wait_for_capacity(self) -> None:
        """Waits while the pipe is full; asks the store once per MiB that was posted. `post` never waits."""

    def post(self, payloads: list[bytes]) -> None:
        """Sends messages, in this order and in one step, without waiting."""
    def recv(self, block: bool = True, timeout: float | None = None) -> bytes | None:
        """The next message: one round trip. None when there is none in time."""
    def poll(self, timeout: float | None = ...) -> bool:
        """Whether there is something to take, the end of file included: one round trip."""
    def __len__(self) -> int:
        """How many messages can be taken."""
    @staticmethod
    def filenos(channels: list[Channel]) -> list[int]:
        """The `fileno()` of each: in one round trip, in a cluster in one for each."""
    def fileno(self, *, look: bool = True) -> int:
        """A file descriptor that is readable while there is something to take. It costs a thread and a connection. Without
        `look` it may only become readable in a moment, and there is no round trip.
        """
    def close(self) -> None: ...
    def transfer_ref(self, holder: str) -> None:
        """Keeps this end alive for a handle on its way in a message."""
    def accept_ref(self, holder: str) -> None:
        """That handle is here."""

@final
class TaskQueue:
    """One side of a pool's queue: its tasks, and their results. The pool has one reader of results. Raises as Channel.

    A task is acknowledged by its result: one whose worker dies before is given to another worker, as often as it may be.
    """

    def __new__(cls, id: str) -> TaskQueue:
        """The workers' side of one that there is."""
    @staticmethod
    def pair(bound: int) -> tuple[TaskQueue, TaskQueue]:
        """The pool's side of a new one, and the workers'. `bound`: about how many bytes of tasks it holds before `put_tasks`
        waits.
        """
    @property
    def id(self) -> str: ...
    def put_tasks(self, payloads: list[bytes]) -> None:
        """Sends tasks, in order. Waits only while the queue is full."""
    def get_task(self, timeout: float | None = None) -> bytes | None:
        """The next task, in work until this thread puts its result: one round trip. None when there is none in time."""
    def discard_task(self) -> bool:
        """On the workers' side: takes a task that nobody is to do any more. False: there is none."""
    def put_result(self, payload: bytes, goes_on: bool) -> None:
        """Sends the result of the task that this thread got last, without waiting. Who `goes_on` is to get the next task
        at once, which is taken in the same step.
        """
    def get_results(self) -> list[tuple[bytes, int | None]]:
        """Waits for a result and takes up to 256 more that are there. With a task that was begun as often as it may be, in
        place of its result, the exit code of its last worker.
        """
    def post(self, payload: bytes) -> None:
        """Sends what is neither task nor result to the other side, without waiting."""

@final
class Region:
    """A span of shared memory, with the buffer protocol: a real buffer in every process that holds it.

    One that was never shared is plain memory of this process. Of others, acquiring operations of the other classes refresh it
    and releasing ones publish what was written; see docs/design/memory.md.
    """

    def __new__(cls, size: int, *, id: str | None = None) -> Region: ...
    @property
    def id(self) -> str: ...
    def share(self) -> None:
        """The store has it from now on: others may attach to it."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def exports(self) -> int:
        """How many buffers of it are in use."""
    def sync(self) -> None:
        """Publishes what was written here and fetches what others have published, with no other synchronisation."""
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
        launcher: str | Lambda,
        *,
        holds: list[tuple[str, int]],
        descriptors: list[int],
        attempts: int,
    ) -> Job:
        """Writes the record and launches a worker for it: of the zygote whose socket this is, or in the function. `job` and
        `worker` are new ids, of the job and of the worker's process.
        `holds` are ends of objects that the record refers to, held here until the child has attached; `event` and
        `descriptors` go to a worker of this machine.
        """
    @property
    def pid(self) -> int: ...
    @property
    def launcher(self) -> str: ...
    @property
    def sentinel(self) -> int:
        """A file descriptor that is readable once the process has ended."""
    def has_ended(self) -> bool: ...
    def exitcode(self) -> int | None:
        """None while it runs; negative for a signal. No round trip."""
    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the end; None when the time was over."""
    def signal(self, signum: int) -> None:
        """Sends a signal to a remote process; SIGINT, SIGTERM and SIGKILL end one that no worker has begun."""
    @staticmethod
    def claim(id: str, claimant: str) -> bytes | None:
        """In the worker: takes the job's record, once. None: another worker has it, or it was ended before it began."""
    @staticmethod
    def attached(id: str, parent: str) -> None:
        """In the worker: it holds by itself what its record referred to."""
    @staticmethod
    def finish(id: str, parent: str, code: int, attempts: int) -> None:
        """In the worker: writes the exit record, after everything else that it had to say."""

@final
class Program:
    """The program by the id of its process, as the launcher of its workers' own processes."""

    def __new__(cls, process: str) -> Self: ...

@final
class Lambda:
    """The AWS Lambda function whose invocations are workers."""

    def __new__(
        cls, function: str, packing: int, start_timeout: int, stall_timeout: int, url: str | None, credentials: str | None
    ) -> Self:
        """A name or an ARN; `packing` processes share an invocation; `url`: the store's address there, if it is another one;
        `credentials`: a command that prints them as AWS' `credential_process` does, where the core does not find them itself.

        While Lambda has none to give, a process waits for
        `start_timeout` seconds in which none runs, and for `stall_timeout` seconds in which none begins or ends.

        Reads AWS' own configuration. ValueError without a region.
        """
    @property
    def endpoint(self) -> str | None:
        """The URL of Lambda's API, where it is not AWS' own."""
    def describe(self) -> str:
        """The function's configuration, as JSON. RuntimeError, with what to do, where it cannot be had."""
    def usage(self) -> tuple[int, int, int]:
        """Invocations so far, their milliseconds, and how many are unanswered."""

def is_lost() -> bool:
    """Whether this process' session was found gone. A store that just does not answer may answer again."""

def is_open() -> bool:
    """Whether this process has a session."""

def check_url(url: str) -> None:
    """ValueError, with the valid forms, for a URL of a store that cannot be used."""

def try_store(url: str) -> None:
    """Connects once. ConnectionError, with the reason, where that cannot be done within 4 seconds."""

def examine_store(url: str) -> tuple[str, str | None, float]:
    """A store's name with its version; the `maxmemory-policy` by which it throws keys away, if it does; and the median of some
    round trips in seconds. Raises ConnectionError if it cannot be reached.
    """

def store_connections() -> tuple[int, int] | None:
    """How many connections the session's store has, and how many it takes. None where it does not say."""

def open_session(url: str, ttl: int, *, seal_memory: bool = False, needs_persistence: bool = False) -> None:
    """Opens a session. `ttl`: milliseconds that its keys outlive this process; 0 in a private store. `seal_memory`: whether
    shared memory is encrypted as well. ValueError for a store that evicts keys, is a replica, or has no append-only file where
    `needs_persistence`.
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

    The supervisor of remote workers has a lease of its own, which tells their parent that it lives.
    """

def leave_session() -> None:
    """A supervisor's end."""

def send_output(parent: str, job: str, is_error: bool, bytes: bytes) -> None:
    """Tells the process that has started a job what this job has printed, without waiting."""

def claimant(attempt: str, supervisor: str) -> str:
    """The claimant of a supervisor's workers, for `Job.claim` and `send_death`. `attempt`: the id of the invocation."""

def send_death(parent: str, job: str, code: int, claimant: str, message: str) -> None:
    """Tells it that a job died without a word of its own. `claimant`: the attempt that had it; `message`: for the user."""

def read_command(command: bytes) -> tuple[str, int] | None:
    """A command for the supervisor of remote workers: a job and a signal for it; None: their parent has ended.

    Raises RuntimeError for anything else.
    """

def session_info() -> tuple[str, bytes, str, int, bool, str]:
    """Name, key, URL, ttl, whether shared memory is sealed, and the id of this process."""

def close_session() -> None:
    """Ends the session; in an outside store its keys go."""

def before_fork() -> None:
    """Before a fork of the program's own: locks and memory that this process alone knows are in the store from now on."""

def after_fork_in_parent() -> None:
    """After it, in the process that has forked."""

def after_fork() -> None:
    """In the child of the program's own `fork()`: begins a state of its own, and leaves the inherited one alone."""

def settle() -> None:
    """Waits until the store has everything that was sent without waiting."""

def counters() -> dict[str, int]:
    """Counts of what this process has sent: `commands`, `bytes`, and `round_trips`, the waits for the store."""

def new_id() -> str:
    """16 hexadecimal digits that nothing else in the session has."""

def put_blob(name: str, payload: ReadableBuffer) -> None:
    """Stores bytes under a name, once."""

def read_blob(name: str, buffer: WriteableBuffer) -> None:
    """Reads the bytes of a name into a buffer, which has just their number."""

def drop_blob(name: str) -> None:
    """Deletes the bytes of a name."""

def bind_name(name: str, region: str, size: int) -> bool:
    """Gives a name to a region, which lives until the name is taken away. False: it stands for another one."""

def find_name(name: str) -> tuple[str, int] | None:
    """The region of a name, and its size in bytes."""

def unbind_name(name: str) -> bool:
    """Takes a name away. False: there was none."""

def get_blob(name: str) -> bytes:
    """Reads the bytes of a name that `put_blob` has stored."""

def adopt_orphans() -> None:
    """On Linux: descendants whose own parent ends become children of this process."""

def load_roots() -> None:
    """Reads the root certificates for TLS, for this process and those that it forks. OSError where that fails."""

def die_with_parent() -> None:
    """On Linux: the kernel ends this process with its parent."""

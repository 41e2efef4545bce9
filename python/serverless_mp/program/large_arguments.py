"""One large argument for many processes: stored once, and read once by each machine on which they run.

A pickler writes a large byte string (an array's data, a long text) in one piece. The file that it writes to can therefore store
such a piece separately, under the hash of its content, without the help of any object. Workers of one machine map one file. The
piece exists as long as a process that received it. It is kept in the store, or in the bucket that `SERVERLESS_MP_BUCKET` names,
if reading it would keep a node of the store busy for more than a second.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import sys
import threading
from multiprocessing import util
from pickle import DEFAULT_PROTOCOL, dumps, loads
from typing import TYPE_CHECKING, Any, NamedTuple

from serverless_mp import _core, config
from serverless_mp.store import session

from . import cache

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable

# Each process reads smaller content itself: a file costs more.
WORTH_A_FILE = 1 << 20
# Bytes a second that one node of a store sends. Redis: 0.88 GiB/s to 32 readers and 0.82 to 192, by the measurements of "Burst
# Computing" (USENIX ATC 2025, Burst-Computing/burst-validation-results).
NODE = 850 << 20
# The seconds without a byte from the bucket after which reading fails, and the seconds for which an address is valid, if the
# credentials that signed it last as long.
_DOWNLOAD_TIMEOUT = 60
_GOOD_FOR = 12 * 3600

_lock = threading.Lock()
# Stored content gets a new name each time, since the deletion of an earlier copy may still be under way.
_names = itertools.count()
# Where each content is stored, and the number of processes that received it.
_stored: dict[str, tuple[Piece, int]] = {}
# The folder for files of processes on the program's own machine; None: the cache of another machine.
_folder: str | None = None


class Piece(NamedTuple):
    """Content that is stored separately."""

    digest: str
    size: int
    # In the store: the name of its blob.
    blob: str | None
    # In a bucket: its key, and an address from which it can be read without permissions or packages.
    key: str | None = None
    address: str | None = None

    def open(self) -> mmap.mmap | bytearray:
        """In a worker: the content, which the worker may change privately."""
        if self.size < WORTH_A_FILE:
            content = bytearray(self.size)
            self._fetch(content)
            return content
        return cache.mapped(self.digest, self.size, self._fetch, _folder)

    def _fetch(self, content: mmap.mmap | bytearray) -> None:
        if self.blob is not None:
            _core.read_blob(self.blob, content)
            return
        import urllib.request  # noqa: PLC0415 - only if the argument is in a bucket

        assert self.address is not None  # noqa: S101 - one of the two is set
        try:
            with urllib.request.urlopen(self.address, timeout=_DOWNLOAD_TIMEOUT) as answer, memoryview(content) as view:  # noqa: S310 - the program's own
                at = 0
                while read := answer.readinto(view[at:]):
                    at += read
        except OSError as e:
            hint = "a function in a VPC needs a gateway endpoint for S3"
            message = f"cannot read {self.key} from the bucket of {config.bucket.name}: {e}; {hint}"
            raise OSError(message) from e
        if _digest(content) != self.digest:
            message = f"{self.key} in the bucket of {config.bucket.name} is not what the program has put there"
            raise ValueError(message)


def keep_in(folder: str | None) -> None:
    """Sets the folder for the files, which is removed with the program. None: the machine's cache is used (`cache`)."""
    global _folder  # noqa: PLW0603 - one per process
    _folder = folder


class Writer:
    """A file for a pickler. Content of fewer than `least` bytes stays in the record."""

    def __init__(self, least: int) -> None:
        self._parts: list[bytes | Piece] = []
        self._arrays: list[Piece] = []
        self._least = least

    def write(self, data: Any) -> int:
        """Writes a byte string."""
        with memoryview(data) as view:
            self._parts.append(bytes(view) if view.nbytes < self._least else store(view))
            return view.nbytes

    def reduce(self, array: Any) -> Any:
        """Reduces a numpy array for the pickler that writes here. A large array is rebuilt over mapped content."""
        if array.nbytes < max(self._least, WORTH_A_FILE) or array.dtype.hasobject or not array.dtype.isnative:
            return array.__reduce_ex__(DEFAULT_PROTOCOL)
        reduced = reduce_array(array, store)
        self._arrays.append(reduced[1][0])
        return reduced

    def record(self) -> bytes:
        """The part that goes into the record."""
        return dumps(self._parts)

    def pieces(self) -> list[str]:
        """The digests of content that is stored separately, to be passed to `release`."""
        return [part.digest for part in (*self._parts, *self._arrays) if isinstance(part, Piece)]


def reader(record: bytes) -> io.BufferedReader:
    """In a worker: the file as it was written."""
    return io.BufferedReader(_Chain(loads(record)))  # noqa: S301 - its seal was checked


class _Chain(io.RawIOBase):
    """Parts, read one after the other."""

    def __init__(self, parts: list[bytes | Piece]) -> None:
        self._parts = parts[::-1]
        self._now = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._now and self._parts:
            part = self._parts.pop()
            self._now = memoryview(part.open() if isinstance(part, Piece) else part)
        size = min(len(buffer), len(self._now))
        buffer[:size] = self._now[:size]
        self._now = self._now[size:]
        return size


def reduce_array(array: Any, keep: Callable[[memoryview], Piece]) -> Any:
    """Reduces a numpy array that contains no objects; `keep` stores its content."""
    in_one = array if array.flags.c_contiguous or array.flags.f_contiguous else array.copy()
    order = "C" if in_one.flags.c_contiguous else "F"
    numpy = sys.modules["numpy"]
    with memoryview(in_one.view(numpy.ndarray).ravel("K").view(numpy.uint8)) as view:
        piece = keep(view)
    return rebuild_array, (piece, type(array), array.dtype, array.shape, order)


def rebuild_array(piece: Piece, kind: Any, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """In a worker: the array, over content of its own."""
    return kind(shape, dtype, piece.open(), order=order)


def store(view: memoryview) -> Piece:
    """Stores a byte string unless it is stored already. Must be followed by `release` later."""
    digest = _digest(view)
    with _lock:
        piece, users = _stored.get(digest) or (_put(digest, view), 0)
        _stored[digest] = piece, users + 1
    if piece.key is None:
        return piece
    return piece._replace(
        address=_s3().generate_presigned_url("get_object", {"Bucket": config.bucket(), "Key": piece.key}, _GOOD_FOR)
    )


def release(digests: list[str]) -> None:
    """Releases content after the end of a process that received it."""
    unused = []
    with _lock:
        for digest in digests:
            piece, users = _stored.pop(digest, (None, 0))
            if piece is None:
                continue  # stored by the process that forked this one
            if users > 1:
                _stored[digest] = piece, users - 1
            else:
                unused.append(piece)
    for piece in unused:
        try:
            if piece.blob is not None:
                _core.drop_blob(piece.blob)
            else:
                _s3().delete_object(Bucket=config.bucket(), Key=piece.key)
        except Exception as e:  # noqa: BLE001 - cleaning up must not disturb the thread that looks after processes
            util.info("%s stays where it is: %s", piece.key or piece.blob, e)
        if _folder is not None:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(_folder, piece.digest))


def through_bucket() -> int:
    """The size in bytes from which an argument is transferred through the bucket, if there is one."""
    return config.s3_argument() or max(NODE // machines(), WORTH_A_FILE)


def machines() -> int:
    """The expected number of machines on which the program's workers run."""
    return 1 if config.launcher() == "local" else -(-config.workers() // config.packing())


def _put(digest: str, view: memoryview) -> Piece:
    here = session.info()
    bucket = config.bucket()
    if bucket is None or view.nbytes < through_bucket():
        blob = f"{digest}-{here.process}-{next(_names)}"
        _core.put_blob(blob, view)
        return Piece(digest, view.nbytes, blob)
    key = f"serverless-mp/arguments/{here.session}/{digest}"
    _s3().put_object(Bucket=bucket, Key=key, Body=bytes(view))
    return Piece(digest, view.nbytes, None, key)


def _digest(data: Any) -> str:
    import hashlib  # noqa: PLC0415 - 3 ms that most programs do not need

    return f"h{hashlib.sha256(data).hexdigest()[:40]}"


def _after_fork() -> None:
    """In a child of the program's own `fork()`: forgets stored content, which only the parent releases."""
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = threading.Lock()
    _stored.clear()


os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def _s3() -> Any:
    try:
        import boto3  # noqa: PLC0415 - only where a bucket is configured
        from botocore.config import Config  # noqa: PLC0415
    except ModuleNotFoundError:
        message = f"{config.bucket.name} is set, but boto3 is not installed: pip install 'serverless_mp[aws]'"
        raise RuntimeError(message) from None
    # An address signed the older way, or for the global endpoint, is refused by most regions.
    style = "path" if "." in (config.bucket() or "") else "virtual"  # no certificate covers a name with dots
    signs = Config(signature_version="s3v4", s3={"addressing_style": style})
    return boto3.session.Session(region_name=os.environ.get("AWS_REGION")).client("s3", config=signs)

"""One large argument for many remote processes: stored once, read by each environment once.

A pickler writes a large string of bytes (an array's data, a long text) in one piece. So the file that it writes to can keep
such a piece apart, under the hash of its content, and no object needs to know. The piece lives in the store while a process
that was given it lives; above `SERVERLESS_MP_S3_ARGUMENT` bytes in the bucket that `SERVERLESS_MP_BUCKET` names, if any.
"""

from __future__ import annotations

import functools
import hashlib
import io
import mmap
import os
import threading
from multiprocessing import util
from pickle import dumps, loads
from typing import Any, NamedTuple

from serverless_mp import _core, config
from serverless_mp.store import session

from . import cache

# Seconds without a byte from the bucket; and for which an address is good, if the credentials that made it last as long.
_PATIENCE = 60
_GOOD_FOR = 12 * 3600

_lock = threading.Lock()
# Where each content is, and how many processes were given it.
_stored: dict[str, tuple[Piece, int]] = {}


class Piece(NamedTuple):
    """A piece of a record that lies elsewhere."""

    digest: str
    blob: str | None
    # In a bucket: its key, and an address that reads it without rights or packages of the reader's.
    key: str | None = None
    address: str | None = None

    def open(self) -> mmap.mmap:
        """In a worker: its content, from the environment's disk."""
        path = cache.file(self.digest, self._fetch)
        with open(path, "rb") as f:
            return mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)

    def _fetch(self) -> bytes:
        if self.blob is not None:
            return _core.get_blob(self.blob)
        import urllib.request  # noqa: PLC0415 - only where the argument lies in a bucket

        assert self.address is not None  # noqa: S101 - it is in one of the two places
        try:
            with urllib.request.urlopen(self.address, timeout=_PATIENCE) as answer:  # noqa: S310 - the program's own
                data: bytes = answer.read()
        except OSError as e:
            hint = "a function in a VPC needs a gateway endpoint for S3"
            message = f"cannot read {self.key} from the bucket of {config.bucket.name}: {e}; {hint}"
            raise OSError(message) from e
        if _digest(data) != self.digest:
            message = f"{self.key} in the bucket of {config.bucket.name} is not what the program has put there"
            raise ValueError(message)
        return data


class Writer:
    """A file for a pickler."""

    def __init__(self) -> None:
        self._parts: list[bytes | Piece] = []
        self._least = config.large_argument()

    def write(self, data: Any) -> int:
        """A small string of bytes stays in the record."""
        with memoryview(data) as view:
            self._parts.append(bytes(view) if view.nbytes < self._least else _store(view))
            return view.nbytes

    def record(self) -> bytes:
        """The part that goes into the record."""
        return dumps(self._parts)

    def pieces(self) -> list[str]:
        """Which contents lie elsewhere; to be given up with `release`."""
        return [part.digest for part in self._parts if isinstance(part, Piece)]


def reader(record: bytes) -> io.BufferedReader:
    """In a worker: the file as it was written."""
    return io.BufferedReader(_Chain(loads(record)))  # noqa: S301 - its seal was checked


class _Chain(io.RawIOBase):
    """Parts, one after the other."""

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


def release(digests: list[str]) -> None:
    """A process that was given these has ended."""
    unused = []
    with _lock:
        for digest in digests:
            piece, users = _stored.pop(digest)
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
        except Exception as e:  # noqa: BLE001 - tidying up must not fail whoever looks after a process
            util.info("%s stays where it is: %s", piece.key or piece.blob, e)


def _store(view: memoryview) -> Piece:
    digest = _digest(view)
    with _lock:
        piece, users = _stored.get(digest) or (_put(digest, view), 0)
        _stored[digest] = piece, users + 1
    if piece.key is None:
        return piece
    return piece._replace(
        address=_s3().generate_presigned_url("get_object", {"Bucket": config.bucket(), "Key": piece.key}, _GOOD_FOR)
    )


def _put(digest: str, view: memoryview) -> Piece:
    here = session.info()
    bucket = config.bucket()
    if bucket is None or view.nbytes < config.s3_argument():
        blob = f"{digest}-{here.process}"
        _core.put_blob(blob, bytes(view))
        return Piece(digest, blob)
    key = f"serverless-mp/arguments/{here.session}/{digest}"
    _s3().put_object(Bucket=bucket, Key=key, Body=bytes(view))
    return Piece(digest, None, key)


def _digest(data: Any) -> str:
    return f"h{hashlib.sha256(data).hexdigest()[:40]}"


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

"""The content of a function: files by path, packages by version; written as a zip, or as a layer of an image."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# All files get the same date, so that the same content gives the same bytes.
_LEVEL = 6


class ContentError(Exception):
    """The packages are not available for the function, or do not fit into it."""


@dataclass(frozen=True)
class File:
    """A file of the content: its bytes, or the path of its source."""

    source: bytes | Path
    is_executable: bool = False

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @property
    def mode(self) -> int:
        """The permissions: every user may read the file."""
        return 0o755 if self.is_executable else 0o644

    def open(self) -> BinaryIO:
        """Opens the file for reading."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")


class Content:
    """All files, and the packages that were requested by name rather than as dependencies."""

    def __init__(self, files: dict[str, File], versions: dict[str, str], requested: Sequence[str] = ()) -> None:
        self.files, self.versions, self.requested = files, versions, list(requested)
        self.size = sum(file.size for file in files.values())

    @cached_property
    def digest(self) -> str:
        """The digest of all names and bytes."""
        digest = hashlib.sha256()
        for name, file in sorted(self.files.items()):
            digest.update(f"{name}\0{file.size}\0".encode())
            with file.open() as data:
                while block := data.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    @cached_property
    def archive(self) -> bytes:
        """The content as a reproducible zip."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
            for name, file in sorted(self.files.items()):
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = file.mode << 16
                info.file_size = file.size
                with file.open() as data, archive.open(info, "w") as member:
                    shutil.copyfileobj(data, member, 1 << 20)
        return buffer.getvalue()

    def write_layer(self, folder: str, path: Path) -> tuple[str, str]:
        """Writes a layer of an image, below a folder. Returns the digests of the compressed and of the uncompressed archive."""
        with path.open("wb") as out:
            packed = _Hashing(out)
            with gzip.GzipFile("", "wb", _LEVEL, cast("BinaryIO", packed), mtime=0) as compressed:
                bare = _Hashing(compressed)
                with tarfile.open(fileobj=cast("BinaryIO", bare), mode="w|", format=tarfile.PAX_FORMAT) as archive:
                    for name in sorted(_folders(folder, self.files)):
                        info = tarfile.TarInfo(name)
                        info.type, info.mode = tarfile.DIRTYPE, 0o755
                        archive.addfile(info)
                    for name, file in sorted(self.files.items()):
                        info = tarfile.TarInfo(f"{folder}/{name}")
                        info.size, info.mode = file.size, file.mode
                        with file.open() as data:
                            archive.addfile(info, data)
        return packed.digest, bare.digest

    def check_size(self, most: int, what: str, advice: str) -> None:
        """Raises ContentError, which names the largest packages, if the content exceeds the limit."""
        if self.size <= most:
            return
        sizes: dict[str, int] = {}
        for name, file in self.files.items():
            top = name.removeprefix("python/").partition("/")[0]
            sizes[top] = sizes.get(top, 0) + file.size
        largest = ", ".join(f"{name} {sizes[name] >> 20} MB" for name in sorted(sizes, key=lambda n: -sizes[n])[:5])
        raise ContentError(
            f"the packages are {self.size >> 20} MB unzipped; {what} may have {most >> 20} MB. The largest: {largest}. {advice}"
        )


class _Hashing:
    """A file for writing that computes the digest of what was written."""

    def __init__(self, out: BinaryIO | gzip.GzipFile) -> None:
        self._out, self._hash = out, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._out.write(data)

    def flush(self) -> None:
        self._out.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _folders(folder: str, files: dict[str, File]) -> set[str]:
    found = {folder}
    for name in files:
        parent = os.path.dirname(name)
        while parent:
            found.add(f"{folder}/{parent}")
            parent = os.path.dirname(parent)
    return found

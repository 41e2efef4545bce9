"""The program's own code, packed for another machine: a zip named by its content.

It contains the directory of the program's script, and the packages and modules that were imported from elsewhere than the
standard library and site-packages, with the data files beside them. A worker's environment fetches each bundle once and keeps
it unpacked. Paths below those directories are translated. Everything that belongs to an installation (the standard library,
third-party packages) is the worker's own.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serverless_mp import _core
from serverless_mp.store import session

from . import cache, files, modules
from .introspect import spec_of

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

CAP = 50 << 20
_SHOWN = 5
# Files whose omission was already reported.
_told: set[str] = set()
# Modes in the archive: every user may read its files, and run those that were executable.
_DIRECTORY, _PROGRAM, _FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644


class Bundle:
    """The name of a bundle in the store, and the directory of this machine from which each of its directories comes."""

    def __init__(self, name: str, roots: list[str]) -> None:
        self.name, self.roots = name, roots

    def enter(self) -> Unpacked:
        """In a worker: unpacks the bundle, if needed."""
        return Unpacked(cache.directory(self.name.partition("-")[0], self._unpack), self.roots)

    def _unpack(self, place: str) -> None:
        with zipfile.ZipFile(io.BytesIO(_core.get_blob(self.name))) as archive:
            cache.make_room(sum(info.file_size for info in archive.infolist()))
            for info in archive.infolist():
                path = os.path.join(os.fsencode(place), info.filename.encode("latin-1"))
                if info.is_dir():
                    os.makedirs(path, exist_ok=True)
                else:
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path, "wb") as out:
                        out.write(archive.read(info))
                os.chmod(path, stat.S_IMODE(info.external_attr >> 16))


class Unpacked:
    """A bundle unpacked on this machine."""

    def __init__(self, place: str, roots: list[str]) -> None:
        self.place, self.roots = place, roots

    def translate(self, path: str | None) -> str | None:
        """The path here for a path of the program's machine; None if it is not in the bundle."""
        # The innermost directory is tried first: a script may lie below a directory in which one of its packages was found.
        for number, root in sorted(enumerate(self.roots), key=lambda item: -len(item[1])):
            if path is not None and (path == root or path.startswith(root.rstrip(os.sep) + os.sep)):
                return os.path.join(self.place, f"r{number}", os.path.relpath(path, root)).removesuffix(f"{os.sep}.")
        return None

    def original(self, path: str) -> str:
        """The path on the program's machine for a path here; the path itself if it is not in the bundle."""
        for number, root in enumerate(self.roots):
            own = os.path.join(self.place, f"r{number}")
            if path == own or path.startswith(own + os.sep):
                return root + path.removeprefix(own)
        return path

    def search_path(self) -> list[str]:
        """The directories from which modules are imported."""
        return [os.path.join(self.place, f"r{number}") for number in range(len(self.roots))]


_made: tuple[Any, Bundle] | None = None
# The top-level names of the program's own modules.
_names: frozenset[str] = frozenset()
# In a worker: the bundle that its own processes get as well.
_inherited: tuple[Bundle, Unpacked] | None = None


def inherit(bundle: Bundle) -> Unpacked:
    """In a worker: unpacks the bundle that it came with. Its own processes get the same bundle."""
    global _inherited  # noqa: PLW0603 - one per process
    _inherited = bundle, bundle.enter()
    return _inherited[1]


def here(path: str) -> str | None:
    """The path here for a path of the program's machine; None if it is not in the bundle."""
    return path if _inherited is None else _inherited[1].translate(path)


def original(path: str) -> str:
    """The path on the program's machine for a path here, as bundles use it."""
    return path if _inherited is None else _inherited[1].original(path)


def current() -> Bundle:
    """The bundle of this program, which is stored once. Raises ValueError if it is too large."""
    global _made, _names  # noqa: PLW0603 - one per process
    if _inherited is not None:
        return _inherited[0]
    # Modules imported since the last call may belong to the program, too.
    key = (session.info().session, len(sys.modules))
    if _made is None or _made[0] != key:
        trees = _trees()
        roots = sorted(trees)
        content = {root: files.of_directory(root, trees[root]) for root in roots}
        _tell([one for root in roots for one in content[root].left_out])
        payload = _pack(roots, content)
        name = f"code{hashlib.sha256(payload).hexdigest()[:32]}-{session.info().process}"
        # An unchanged bundle is not stored again: a worker may be reading it.
        if _made is None or (_made[0][0], _made[1].name) != (key[0], name):
            _core.put_blob(name, payload)
        _made = (key, Bundle(name, roots))
        tops = {os.path.relpath(path, root).partition(os.sep)[0] for root in roots for path in content[root].paths}
        names = {top.partition(".")[0] for top in (*tops, *modules.own_modules())}
        _names = frozenset(name for name in names if name.isidentifier())
    return _made[1]


def names() -> frozenset[str]:
    """The top-level names of all modules in the current bundle of this program, and of those that it has imported itself."""
    return _names


def _tell(left_out: list[tuple[str, str]]) -> None:
    """Reports files that are left out and may be missed."""
    new = [(path, reason) for path, reason in left_out if path not in _told]
    if new:
        _told.update(path for path, _ in new)
        shown = "; ".join(f"{path} ({reason})" for path, reason in new[:_SHOWN])
        more = f"; and {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
        text = f"serverless_mp: left out of what travels to workers: {shown}{more}. `serverless-mp run --dry-run` lists all\n"
        sys.stderr.write(text.encode(errors="backslashreplace").decode())


# ---- what belongs to the program -------------------------------------------------------------------------------


def _trees() -> dict[str, frozenset[str] | None]:
    """The directories, each with the names in it that belong to the program; None means all."""
    trees: dict[str, frozenset[str] | None] = {}
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path and main.__spec__ is None:
        folder, names = place_of_script(path)
        trees[folder] = names
    for module in list(sys.modules.values()):
        spec: ModuleSpec | None = spec_of(module)
        file = os.path.realpath(spec.origin) if spec and spec.origin else ""
        if spec is None or not file or not os.path.isabs(file) or not os.path.exists(file) or modules.is_installed(file):
            continue
        root, entries = place_of(file, spec.name, is_package=bool(spec.submodule_search_locations))
        if not any(root == r or root.startswith(r + os.sep) for r, names in trees.items() if names is None):
            trees[root] = (trees.get(root) or frozenset()) | entries
    return trees


def place_of_script(path: str) -> tuple[str, frozenset[str] | None]:
    """The directory of a script, and the names in it that belong to the program; None means all."""
    real = os.path.realpath(path)
    folder, name = os.path.split(real)
    # A script of an installation is transferred alone: the modules that it imports are installed.
    return folder, frozenset({name}) if modules.is_installed(real) else None


def place_of(file: str, name: str, *, is_package: bool) -> tuple[str, frozenset[str]]:
    """The directory of the search path in which a module was found, and the name of its package there."""
    path = Path(file).parent if is_package else Path(file)
    for _ in name.split("."):
        path = path.parent
    top = name.partition(".")[0]
    return str(path), frozenset({top if (path / top).is_dir() else os.path.basename(file)})


def _pack(roots: list[str], content: dict[str, files.Files]) -> bytes:
    """Packs the files. The same content always gives the same bytes."""
    sizes: dict[str, int] = {}
    total = 0
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, root in enumerate(roots):
            archive.writestr(_entry(f"r{number}/", _DIRECTORY), b"")
            for path in content[root].paths:
                sizes[path] = os.path.getsize(path)
                total += sizes[path]
                if total <= CAP:
                    name = os.path.join(f"r{number}", os.path.relpath(path, root))
                    entry = _entry(name, _PROGRAM if os.access(path, os.X_OK) else _FILE)
                    archive.writestr(entry, Path(path).read_bytes(), zipfile.ZIP_DEFLATED)
    if total > CAP:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:_SHOWN]
        message = (
            f"the program's own files are {total >> 20} MB, more than the {CAP >> 20} MB that travel to workers; "
            "keep data out of the program's directory, or read it from S3. The largest: "
            + ", ".join(f"{path} ({sizes[path] >> 20} MB)" for path in largest)
        )
        raise ValueError(message)
    return buffer.getvalue()


def _entry(name: str, mode: int) -> zipfile.ZipInfo:
    """An entry of the archive. Without an explicit mode, a file would be readable by its owner only and a directory closed."""
    # A file name is bytes, for which an archive has no form: they are stored as characters of one byte each.
    entry = zipfile.ZipInfo(os.fsencode(name).decode("latin-1"))
    entry.external_attr = mode << 16
    return entry

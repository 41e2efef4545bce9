"""Open files: a worker gets the same file and the same position in it, as a forked process does."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from multiprocessing import context, reduction
from typing import Any

import cloudpickle

# A file can be mapped again, but memory that processes share by a mapping without a name cannot.
NOT_MAPPED = "cannot pickle 'mmap.mmap' object: a worker does not share the mapping; use RawArray, SharedMemory or numpy.memmap"
_BY_CONTENT: Any = cloudpickle.Pickler.dispatch_table[io.TextIOWrapper]


def is_local_launch() -> bool:
    """Whether the pickled object goes to a process of this machine."""
    popen: Any = context.get_spawning_popen()
    return popen is not None and not popen.is_remote


def _remake_closed(make: Any, *arguments: Any) -> Any:
    """A closed file or socket, by what makes an open one."""
    one = make(*arguments)
    one.close()
    return one


def _nowhere(mode: str, name: Any) -> io.FileIO:
    file = io.FileIO(os.devnull, mode.replace("x", "w"))
    file.name = name  # type: ignore[misc]
    return file


def _buffered_nowhere(kind: type, mode: str, name: Any) -> Any:
    return kind(_nowhere(mode, name))


def _reduce_closed_buffer(file: Any) -> Any:
    if isinstance(file.raw, io.FileIO):
        return _remake_closed, (_buffered_nowhere, type(file), file.raw.mode, file.raw.name)
    return _remake_closed, (type(file), io.BytesIO())


def reduce_buffer_in_memory(file: Any) -> Any:
    """A closed buffer; pickle knows an open one."""
    return (_remake_closed, (type(file),)) if file.closed else NotImplemented


def reduce_socket(one: Any) -> Any:
    """A closed socket; an open one is shared by its descriptor."""
    return (_remake_closed, (type(one), one.family, one.type, one.proto)) if one.fileno() < 0 else NotImplemented


def _reduce_raw_file(file: io.FileIO) -> Any:
    if file.closed:
        return _remake_closed, (_nowhere, file.mode, file.name)
    if not is_local_launch():
        message = "an open file cannot go to a process on another machine"
        raise TypeError(message)
    return _remake_raw_file, (reduction.DupFd(file.fileno()), file.mode, file.name)


def _remake_raw_file(descriptor: Any, mode: str, name: Any) -> io.FileIO:
    # Uses a descriptor of its own: a second rebuild must not close this one.
    file = io.FileIO(os.dup(descriptor.detach()), mode.replace("x", "w"))
    file.name = name  # type: ignore[misc]
    return file


def _reduce_reader(file: io.BufferedReader) -> Any:
    if file.closed:
        return _reduce_closed_buffer(file)
    if not file.seekable():
        return io.BufferedReader, (file.raw,)
    if not isinstance(file.raw, io.FileIO):
        return _remake_at, (io.BufferedReader, (file.raw,), file.tell())
    return _remake_reader, (file.raw, file.tell())


def _remake_at(kind: type, arguments: tuple[Any, ...], place: int) -> Any:
    file = kind(*arguments)
    file.seek(place)
    return file


def _remake_reader(raw: io.FileIO, place: int) -> Any:
    # Opens the file again with a position of its own: the program's position is behind the data that it has read ahead.
    name = raw.name
    with raw:
        raw = io.FileIO(os.open(f"/dev/fd/{raw.fileno()}", os.O_RDONLY))
    raw.name = name  # type: ignore[misc]
    file = io.BufferedReader(raw)
    file.seek(place)
    return file


def _reduce_writer(file: Any) -> Any:
    if file.closed:
        return _reduce_closed_buffer(file)
    file.flush()
    return type(file), (file.raw,)


def _text_nowhere(mode: str, name: Any) -> io.TextIOWrapper:
    file = io.TextIOWrapper(io.BytesIO() if name is None else io.BufferedWriter(_nowhere("wb", name)))
    file.mode = mode  # type: ignore[misc]
    return file


def _reduce_text_file(file: io.TextIOWrapper) -> Any:
    if file.closed and file not in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        return _remake_closed, (_text_nowhere, getattr(file, "mode", "r"), getattr(file.buffer, "name", None))
    for name in ("__stdin__", "__stdout__", "__stderr__"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    if not is_local_launch():
        return _BY_CONTENT(file)
    options = (file.encoding, file.errors, None, file.line_buffering, file.write_through)
    if not (file.readable() and file.seekable()):
        file.flush()
    else:
        # Refused while a loop iterates over the file: its position is unknown then, and wrong after a flush.
        place = file.tell()
        file.flush()
        # Data that was read ahead must be read again; otherwise both processes share the file's position.
        shares_position = _has_descriptor(file) and place == os.lseek(file.fileno(), 0, os.SEEK_CUR)
        if isinstance(file.buffer, io.BufferedReader) or not shares_position:
            return _remake_at, (io.TextIOWrapper, (file.buffer, *options), place), dict(vars(file))
    return io.TextIOWrapper, (file.buffer, *options), dict(vars(file))


def _has_descriptor(file: Any) -> bool:
    try:
        file.fileno()
    except OSError:
        return False
    return True


def _reduce_temporary_file(file: Any) -> Any:
    # Only the program deletes the file.
    return tempfile._TemporaryFileWrapper, (file.file, file.name, False)


REDUCERS: dict[type, Any] = {
    io.TextIOWrapper: _reduce_text_file,
    io.BufferedReader: _reduce_reader,
    io.BufferedWriter: _reduce_writer,
    io.BufferedRandom: _reduce_writer,
    io.FileIO: _reduce_raw_file,
    tempfile._TemporaryFileWrapper: _reduce_temporary_file,
}

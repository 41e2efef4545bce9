"""Readers and writers of the `csv` module, which are made in C and cannot be pickled."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any


def reduce_writer(writer: Any) -> Any:
    """A writer, from its dialect and the method by which it writes."""
    (write,) = (one for one in gc.get_referents(writer) if callable(one) and not isinstance(one, type))
    return _remake_writer, (write, _options(writer.dialect))


def _remake_writer(write: Any, options: dict[str, Any]) -> Any:
    import csv  # noqa: PLC0415 - only if the program uses it

    return csv.writer(SimpleNamespace(write=write), **options)


def reduce_reader(reader: Any) -> Any:
    """A reader, from its dialect, what it iterates over, and the number of lines that it has read."""
    (lines,) = (one for one in gc.get_referents(reader) if hasattr(type(one), "__next__"))
    return _remake_reader, (lines, reader.line_num, _options(reader.dialect))


def _remake_reader(lines: Any, line_num: int, options: dict[str, Any]) -> Any:
    import csv  # noqa: PLC0415 - only if the program uses it

    reader = csv.reader(_Lines(lines, line_num), **options)
    for _ in range(line_num):
        next(reader)
    return reader


class _Lines:
    """Some empty lines, which the reader counts, and then those of another iterator."""

    def __init__(self, lines: Any, empty: int) -> None:
        self._lines, self._empty = lines, empty

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._empty:
            self._empty -= 1
            return "\n"
        return next(self._lines)


def _options(dialect: Any) -> dict[str, Any]:
    names = ("delimiter", "doublequote", "escapechar", "lineterminator", "quotechar", "quoting", "skipinitialspace", "strict")
    return {name: getattr(dialect, name) for name in names}

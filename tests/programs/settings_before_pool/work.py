"""The work, which looks up the settings."""

import functools

import settings
from settings import TABLE

COUNT = 0
LEVEL = 0
MARK = object()


class Nothing:
    """A marker for a missing value."""


NOTHING = Nothing()


def is_nothing(value=NOTHING):
    return value is NOTHING


class Limits:
    """Limits that the program sets."""

    rows = 1
    seen = []


def score(item):
    return item


class Node:
    """A class with a reference to itself."""


Node.default = Node


@functools.cache
def level():
    return LEVEL


def is_default(value=MARK):
    return value is MARK


def one(item):
    with settings.lock:
        settings.done.value += 1
    print(item, end="", file=settings.log_file)
    return (
        settings.VERBOSE,
        sorted(TABLE.items()),
        settings.registry.names,
        item * settings.FACTOR,
        COUNT,
        TABLE is settings.TABLE,
        level(),
        is_default(),
        is_nothing(),
        Limits.rows,
        Limits.seen,
        score(item),
    )

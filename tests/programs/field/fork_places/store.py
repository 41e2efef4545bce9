"""A module of the program, with state in every place that a module has."""

import functools

COUNT = 0
TABLE = {"a": 1}
MARK = object()
gone = "to be deleted"


def counted(function):
    calls = 0
    seen = []

    @functools.wraps(function)
    def wrapper(*arguments):
        nonlocal calls
        calls += 1
        seen.append(arguments)
        return calls, len(seen), function(*arguments)

    return wrapper


@counted
def double(x):
    return 2 * x


def collect(x, into=[]):
    into.append(x)
    return into


def tagged():
    return getattr(tagged, "tag", None)


@functools.singledispatch
def kind(value):
    return "other"


class Base:
    registry = {}
    level = 1

    @classmethod
    def add(cls, name):
        cls.registry[name] = cls.level

    def greet(self):
        return "base"


class Child(Base):
    extra = "to be deleted"


class Words(dict):
    def __setitem__(self, key, value):
        raise TypeError("use put")

    def put(self, key, value):
        dict.__setitem__(self, key, value)


words = Words()


def is_mark(value=MARK):
    return value is MARK

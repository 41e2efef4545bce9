"""A module of the program that replaces, after its import, what its import has made."""

import contextlib
import functools

log = []


def traced(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        log.append(function.__name__)
        return "traced", function(*arguments)

    return wrapper


def plain():
    return "plain"


@traced
def decorated():
    return "decorated"


def cached():
    return "cached", LEVEL


def anew():
    return "old"


def other():
    return "other"


def recoded():
    return "before"


@contextlib.contextmanager
def managed():
    yield "managed"


LEVEL = 1


def counter():
    n = 0

    def increase():
        nonlocal n
        n += 1
        return n

    def get():
        return n

    increase.get = get
    return increase


count = counter()


def pair():
    n = 0

    def put(value):
        nonlocal n
        n = value

    def get():
        return n

    return put, get


put, get = pair()


class Thing:
    __registry__ = {}
    __mode__ = "first"
    made = property(lambda self: "by a lambda")

    @staticmethod
    def static():
        return "old static"

    @classmethod
    def by_class(cls):
        return "old class"

    @property
    def name(self):
        return "old name"

    def method(self):
        return "method", __class__.__name__

    def switched(self):
        return "switched"

    def __len__(self):
        return 1

    @functools.cached_property
    def late(self):
        return "late", LEVEL


class Base:
    def __init_subclass__(cls):
        cls.__kinds__ = []


class Child(Base):
    pass


def replace():
    global plain, cached, decorated, LEVEL, recent
    plain = traced(plain)
    cached = functools.lru_cache(cached)
    decorated = decorated.__wrapped__
    LEVEL = 2
    recent = functools.lru_cache(other)
    recoded.__code__ = (lambda: "after").__code__
    anew.__defaults__ = ()
    count()
    put(7)
    Thing.__registry__["key"] = 1
    Thing.__mode__ = "second"
    Thing.static = staticmethod(other)
    Thing.by_class = classmethod(lambda cls: "new class")
    Thing.name = property(traced(Thing.name.fget))
    Thing.made = property(lambda self: "by another")
    Thing.method = traced(Thing.method)
    Thing.switched = property(Thing.switched)
    Thing.__len__ = lambda self: 5
    Thing.__hash__ = None
    Child.__kinds__.append("kind")

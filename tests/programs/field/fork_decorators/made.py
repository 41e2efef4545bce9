"""A module of the program whose functions decorators have made: twice the same one, on every kind of method, with state."""

import functools
import threading

COMMANDS, BY_FUNCTION = {}, {}
A, B = threading.Lock(), threading.Lock()


def command(name):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*arguments):
            return name, function(*arguments)

        COMMANDS[name] = wrapper
        BY_FUNCTION[wrapper] = name
        BY_FUNCTION[function] = f"{name}, raw"
        return wrapper

    return decorate


def holding(lock):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*arguments):
            with lock:
                return function(*arguments)

        return wrapper

    return decorate


def counting(function):
    count = 0

    @functools.wraps(function)
    def wrapper(*arguments):
        nonlocal count
        count += 1
        return count

    return wrapper


def times(n):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*arguments):
            return n * function(*arguments)

        return wrapper

    return decorate


@command("outer")
@command("inner")
def twice():
    return "done"


@holding(A)
@holding(B)
def locked():
    return "both held"


@times(1)
def price(x):
    return x


variants = {n: times(n)(price.__wrapped__) for n in (2, 3)}


def make(n):
    def f():
        return n

    return f


f = make(1)
g = f


class Kinds:
    @staticmethod
    @counting
    def static():
        pass

    @classmethod
    @counting
    def of_class(cls):
        pass

    @property
    @counting
    def value(self):
        pass

    @staticmethod
    @functools.lru_cache
    def cached(x):
        return [x]

    @staticmethod
    def remembers(key=None, known={}):  # noqa: B006 - it is what is tried
        known.update({key: 1} if key else {})
        return sorted(known)

    @classmethod
    def remembers_too(cls, key=None, known={}):  # noqa: B006 - it is what is tried
        known.update({key: 1} if key else {})
        return sorted(known)

    def __new__(cls, instances=[]):  # noqa: B006 - it is what is tried
        if not instances:
            instances.append(object.__new__(cls))
        return instances[0]


def derived(cls):
    class Derived(cls):
        def __repr__(self):
            return "derived"

    Derived.__name__, Derived.__qualname__, Derived.__module__ = cls.__name__, cls.__qualname__, cls.__module__
    return Derived


@derived
class Config:
    values = {}

    def get(self, name):
        return self.values[name]


config = Config()


def hooked():
    return hooked.hook() if hasattr(hooked, "hook") else None


hooked.gone = 1

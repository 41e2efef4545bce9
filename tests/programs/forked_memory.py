"""A forked process finds state as it was: shared views, objects with references to one another, and unpicklable objects."""

import collections
import ctypes
import functools
import multiprocessing
import tempfile
import threading
import weakref
from multiprocessing import shared_memory

import numpy as np

# Arrays over shared memory.
raw = multiprocessing.RawArray("d", 4)
view = np.frombuffer(raw)
block = shared_memory.SharedMemory(create=True, size=32)
matrix = np.ndarray((2, 2), buffer=block.buf)


def fill(i):
    view[i] = i + 1
    matrix[i // 2, i % 2] = -i


# A service whose workers are among its attributes, beside unpicklable objects.
class Service:
    shared = []
    guard = threading.Lock()

    def __init__(self):
        self.workers, self.queue, self.lock = [], multiprocessing.Queue(), threading.RLock()
        self.thread, self.numbers = threading.Thread(target=print), (n for n in range(3))
        self.log = tempfile.TemporaryFile("w+")

    def start(self):
        for n in range(2):
            worker = multiprocessing.Process(target=self.work, args=(n,))
            self.workers.append(worker)
            worker.start()
        answers = sorted(self.queue.get() for _ in self.workers)
        for worker in self.workers:
            worker.join()
        self.log.seek(0)
        return answers, self.log.read()

    def work(self, n):
        with self.lock, self.guard:
            self.log.write(".")
            self.log.flush()
            self.queue.put((n, self is service, len(self.shared), registry["service"] is self))


service = Service()
Service.shared.append(1)
registry = {"service": service}


# Objects that decorators and metaclasses create.
@functools.lru_cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def counted(function):
    def call(*arguments):
        return STEP + function(*arguments)

    return call


STEP = 100
__version__ = "1.2"


@counted
def plus(x):
    return x + STEP


@functools.singledispatch
def kind(value):
    return "other"


@kind.register
def _(value: int):
    return "int"


class Plugin:
    names = []

    def __init_subclass__(cls, *, key):
        cls.key = key
        Plugin.names.append(key)


class First(Plugin, key="first"):
    pass


class Stats(Plugin, key="stats"):
    level, total = 0, multiprocessing.Value("i", 0)


Stats.level = 5


class Table(type):
    def __new__(mcs, name, bases, space):
        tables[name] = super().__new__(mcs, name, bases, space)
        return tables[name]


tables = {}


class Users(metaclass=Table):
    pass


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]


points = multiprocessing.Array(Point, [(1, 2), (3, 4)])
names, local = weakref.WeakValueDictionary(users=Users), threading.local()
local.value = 7
counts = collections.Counter("aab")
MISSING = object()


class Task:
    result = 1

    @property
    def func(self):
        raise RuntimeError("nobody is to ask")


task, source = Task(), open(__file__)
source.readline()
rows = ["a", "b"]
following = iter(rows)
next(following)


def get(mapping, key, default=MISSING):
    return "missing" if default is MISSING else mapping.get(key, default)


def look(given, default):
    with Stats.total.get_lock():
        Stats.total.value += Stats.level
    print(task.result, repr(source.readline()), next(following))
    total = 0

    def add(n):
        nonlocal total
        total += n

    add(1)
    print(fib(30), plus(1), kind(1), kind("a"), First.key, Plugin.names, sorted(tables), tables["Users"] is Users)
    print([(p.x, p.y) for p in points], names["users"] is Users, local.value, counts["a"], __version__, total)
    print(get({}, "a"), given is registry, default is MISSING, globals()["unnamed"], eval("also_unnamed"))


unnamed, also_unnamed = 1, 2

if __name__ == "__main__":
    processes = [multiprocessing.Process(target=fill, args=(i,)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(view.tolist(), matrix.tolist())
    print(service.start())
    process = multiprocessing.Process(target=look, args=(registry, MISSING))
    process.start()
    process.join()
    print(Stats.total.value)
    del matrix
    block.close()
    block.unlink()

"""Classes at whose definition code of the program runs, by a metaclass or a base: a process that forks runs none of it."""

import abc
import multiprocessing as mp
import uuid


class Noting(type):
    all = []
    calls = 0

    def __new__(mcs, name, bases, space, **options):
        cls = super().__new__(mcs, name, bases, space)
        cls.made = vars(cls).get("made", 0) + 1
        return cls

    def __init__(cls, name, bases, space, **options):
        super().__init__(name, bases, space)
        Noting.all.append(cls)

    def __call__(cls, *args):
        Noting.calls += 1
        return super().__call__(*args)

    @property
    def settled(cls):
        return cls._settled


class Described:
    def __set_name__(self, owner, name):
        self.name = name


class Base(metaclass=Noting, key=2):
    instance = None
    old = 1
    ident = uuid.uuid4()
    _settled = 3
    function = len
    described = Described()
    print("the body runs")

    def __init__(self):
        self.x = 1


class Derived(Base):
    def __init__(self):
        super().__init__()
        self.own = __class__


class Slotted(metaclass=Noting):
    __slots__ = ("a",)


class Single(type):
    instances = {}

    def __call__(cls, *args):
        if cls not in cls.instances:
            cls.instances[cls] = super().__call__(*args)
        return cls.instances[cls]


class Settings(metaclass=Single):
    def __init__(self):
        self.value = 0


class Plugin:
    known = {}
    count = 0

    def __init_subclass__(cls, /, tag=None, **options):
        super().__init_subclass__(**options)
        Plugin.known[tag] = cls
        cls.tag = tag
        Plugin.count += 1


class First(Plugin, tag="first"):
    number = 0


class Second(First, tag="second"):
    pass


class AbstractMeta(abc.ABCMeta):
    pass


class Abstract(metaclass=AbstractMeta):
    @abc.abstractmethod
    def method(self): ...


Base.instance, Base.derived, Base.function, ident = Base(), Derived(), sum, Base.ident
del Base.old
Settings().value, First.number, Second.extra = 7, 5, object()
Abstract.register(dict)
slotted = Slotted()
slotted.a = 4


def work():
    print(Base.instance is None, Base.ident == ident, hasattr(Base, "old"), Base.settled, Base.made, Derived.made)
    print(
        Base.derived.own is Derived,
        Base.function([1]),
        type(Base) is Noting,
        Noting.calls,
        Noting.all == [Base, Derived, Slotted],
    )
    print(
        Settings().value, len(Single.instances), Plugin.known == {"first": First, "second": Second}, First.number, Second.number
    )
    print(Plugin.count, Second.tag, hasattr(Second, "extra"), issubclass(dict, Abstract), slotted.a, Base.described.name)
    try:
        Abstract()
    except TypeError:
        print("abstract")

    class Third(Second, tag="third"):
        pass

    print(Plugin.known["third"] is Third, Derived().own is Derived, Noting.calls)


if __name__ == "__main__":
    mp.set_start_method("fork")
    process = mp.Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)

"""Names of classes whose value is None, in every kind of class."""

import abc
import dataclasses
import enum
import multiprocessing
import typing


class Single:
    _instance = None

    @classmethod
    def get(cls):
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance


class Meta(type):
    instance = None
    registry = None


class WithMeta(metaclass=Meta):
    instance = None
    handler = None


class Base(abc.ABC):
    label = "of the base"

    @abc.abstractmethod
    def run(self): ...


class Derived(Base):
    label = None
    __hash__ = None
    __doc__ = None

    def run(self):
        return self.label


class Slots:
    __slots__ = ("x",)
    default = None


@dataclasses.dataclass
class Data:
    x: typing.Any = None
    kept: typing.ClassVar = None


class Protocol(typing.Protocol):
    name = None


class Color(enum.Enum):
    RED = None
    GREEN = 1


class Outer:
    class Inner:
        nothing = None

    nothing = None


Made = type("Made", (Base,), {"label": None, "run": lambda self: self.label})
Single.later = None


class Worker(multiprocessing.Process):
    label = None
    queue = None

    def run(self):
        print("label", self.label, self.queue, flush=True)


def look(x):
    kinds = [Meta, WithMeta, Base, Derived, Slots, Data, Protocol, Color, Outer, Outer.Inner, Made]
    found = {kind.__name__: sorted(name for name, value in vars(kind).items() if value is None) for kind in kinds}
    return x, type(Single.get()).__name__, Derived().run(), Made().run(), Data().x, Color.RED.value, found


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        for row in pool.map(look, range(2)):
            print(row)
    multiprocessing.set_start_method("fork", force=True)
    worker = Worker()
    worker.start()
    worker.join()
    print(worker.exitcode)

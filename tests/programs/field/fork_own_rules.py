"""Objects whose libraries pickle them with less than they have, or by a place where a worker has not put them yet."""

import multiprocessing as mp
import operator
import re

import numpy as np
import pint
from bidict import bidict
from cachetools import LRUCache, cached, cachedmethod
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# A quantity belongs to its registry, by whose definitions it is converted.
units = pint.UnitRegistry()
units.define("knot = 2 * meter / second")
speed, meter = 3 * units.knot, units.meter

names = bidict(a=1)
numbers = names.inverse

add = np.frompyfunc(lambda a, b: a + b, 2, 1)
cut = np.vectorize(lambda x: min(x, 2))
cut([1, 2, 3])
scanner = re.Scanner([(r"\d+", lambda _, token: int(token)), (r"\s+", None)])


@cached(cache=LRUCache(10))
def square(x):
    return x * x


square(3)


class Doubling:
    def __init__(self):
        self.results = {}

    @cachedmethod(operator.attrgetter("results"))
    def double(self, x):
        return 2 * x


doubling = Doubling()
doubling.double(4)

FIELDS, prefix = ["x", "y"], "field_"


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    labels = [prefix + name for name in FIELDS]

    class Meta:
        about = numbers

        class Inner:
            scale = speed


def work():
    print(speed.to("m/s"), speed._REGISTRY is units, 2 * meter + 1 * units.meter)
    names["z"] = 26
    print(numbers.inverse is names, numbers.get(26), names.inverse is numbers)
    print(add(1, 2), cut([1, 5]), scanner.scan("1 22"))
    print(square(5), len(square.cache), doubling.double(1), doubling.results)
    print(Item.labels, Item.Meta.about is numbers, Item.Meta.Inner.scale is speed)


if __name__ == "__main__":
    mp.set_start_method("fork")
    p = mp.Process(target=work)
    p.start()
    p.join()
    print(p.exitcode)

"""Attributes of objects whose base says how they are made, and which asks nothing of their attributes."""

import array
import collections
import datetime as dt
import decimal
import fractions
import multiprocessing as mp

import numpy as np


class Counted(collections.Counter):
    limit = None


class Day(dt.date):
    note = "none"


class Price(decimal.Decimal):
    unit = "?"


class Ratio(fractions.Fraction):
    unit = "?"


class Numbers(array.array):
    unit = "?"


class Grid(np.ndarray):
    unit = "?"


class Layers(collections.ChainMap):
    unit = "?"


class Latest(collections.deque):
    unit = "?"


class Moment(dt.datetime):
    __slots__ = ("zone",)


class Attributes(dict):
    __getattr__ = dict.__getitem__


class Growing(collections.defaultdict):
    __getattr__ = collections.defaultdict.__getitem__


class Bounded(list):
    maxlen = 10


counted, day, price, ratio = Counted("aab"), Day(2020, 1, 1), Price(1), Ratio(1, 2)
numbers, grid, layers, latest = Numbers("i", [1]), np.zeros(3).view(Grid), Layers({}), Latest([1, 2], 3)
for one in (price, ratio, numbers, grid, layers, latest):
    one.unit = type(one).__name__
counted.limit, day.note = 5, "holiday"
moment = Moment(2020, 1, 1)
moment.zone = "here"
settings, growing, bounded = Attributes(rate=0.1), Growing(int, a=1), Bounded([1])


def work(given):
    print(counted, counted.limit, day, day.note, moment, moment.zone)
    print([(one, one.unit) for one in (price, ratio, numbers, grid, layers, latest)])
    print(settings.rate, given.rate, growing, bounded)


if __name__ == "__main__":
    mp.set_start_method("fork")
    process = mp.Process(target=work, args=(settings,))
    process.start()
    process.join()
    print(process.exitcode, growing)

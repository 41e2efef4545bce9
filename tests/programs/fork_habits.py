"""A program written for processes that fork: no guard, lambdas, classes and globals of `__main__`."""

import functools
import math
import multiprocessing
from dataclasses import dataclass

SCALE = 1
lock = multiprocessing.Lock()
table = {"a": 1}


@dataclass
class Row:
    x: int


class OddError(Exception):
    pass


class Doubler:
    def __init__(self, by):
        self.by = by

    def apply(self, row):
        return Row(row.x * self.by * SCALE)


def set_scale(value):
    global SCALE
    SCALE = value
    table["b"] = value


def work(i):
    if i % 2:
        raise OddError(i)
    with lock:
        return Row(int(math.sqrt(i)) + SCALE + table["b"])


def report(send):
    send((__name__, SCALE, sorted(table)))


SCALE = 7
here, there = multiprocessing.Pipe()
extra = 5
process = multiprocessing.Process(target=lambda: there.send((extra, SCALE)))
process.start()
print(here.recv())
process.join()


def outer():
    @dataclass
    class Local:
        y: int

    def nested(n):
        there.send(Local(n + extra).y)

    process = multiprocessing.Process(target=nested, args=(1,))
    process.start()
    print(here.recv())
    process.join()


outer()
with multiprocessing.Pool(2, set_scale, (100,)) as pool:
    rows = pool.map(work, [4, 16])
    print(rows, all(isinstance(row, Row) for row in rows))
    print(pool.map(Doubler(3).apply, [Row(1)]))
    print(pool.map(functools.partial(pow, 2), [3]))
    try:
        pool.apply(work, (1,))
    except OddError as e:
        print("caught", e.args)
process = multiprocessing.Process(target=report, args=(there.send,))
process.start()
print(here.recv())
process.join()
print(SCALE, table)

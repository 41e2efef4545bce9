"""A process that was started by spawn forks: its main module has another name."""

import multiprocessing as mp
from collections import namedtuple

Point = namedtuple("Point", "x y")


class Shape:
    def area(self):
        return 6


def leaf(array, shape, point):
    array[1] = shape.area() + point.x
    print(__name__, Shape.__module__, type(shape) is Shape, sorted(registry))


def square(x):
    return x * x


def middle(array):
    registry["late"] = Shape()
    context = mp.get_context("fork")
    process = context.Process(target=leaf, args=(array, registry["late"], Point(1, 2)))
    process.start()
    process.join()
    array[2] = process.exitcode
    with context.Pool(2) as pool:
        print(pool.map(square, range(4)), len(registry))
    array[0] = 1


registry = {}

if __name__ == "__main__":
    context = mp.get_context("spawn")
    array = context.RawArray("i", 3)
    process = context.Process(target=middle, args=(array,))
    process.start()
    process.join()
    print(process.exitcode, array[:])

"""Iterators of itertools, keys of functools and arrays of numpy arrive as they are, also if warnings are errors."""

import functools
import itertools
import multiprocessing
import sys
import warnings

import numpy as np

counters = [
    itertools.count(),
    itertools.count(5, 2),
    itertools.count(0.5),
    itertools.count(10**30),
    itertools.count(3, 0.5),
    itertools.count(-3),
]
if sys.version_info < (3, 14):  # later ones cannot be pickled
    cycle, chain, rest = itertools.cycle("abc"), itertools.chain([1], [2]), itertools.islice(range(10), 2, 8)
by_size = functools.cmp_to_key(lambda one, other: len(one) - len(other))
key = by_size("four")

small, fixed = np.arange(6.0), np.arange(3)
fixed.flags.writeable = False
columns = np.asfortranarray(np.arange(6).reshape(2, 3))
transposed = columns.T
records = np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "i4"), ("b", "f8")])
empty, days = np.empty((0, 3)), np.array(["2020-01-02"], dtype="M8[D]")
objects = np.array([(1, "x")], dtype=[("a", "i4"), ("b", object)])
padded = np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True))
padded.view("u1")[:] = range(32)
permuted = np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2).copy("K")


class ndarray(np.ndarray):
    """Of the program, under numpy's name."""


named = np.arange(3).view(ndarray).copy()
ARRAYS = (*("small", "fixed", "columns", "transposed", "records", "empty", "days", "objects", "padded", "named"),)


def show():
    for counter in counters:
        print(repr(counter), next(counter), next(counter))
    if sys.version_info < (3, 14):
        print(next(cycle), list(chain), list(rest))
    print(sorted(["ccc", "a", "bb"], key=by_size), key < by_size("fives"), by_size("six") < key)
    for name in ARRAYS:
        array = globals()[name]
        flags = array.flags
        print(name, array.tolist(), array.dtype, array.strides, array.base is None)
        print(flags.owndata, flags.writeable, flags.c_contiguous, flags.f_contiguous)
    print(transposed.base is columns, type(named).__module__, bytes(padded.view("u1")), permuted.strides)
    small.resize(8, refcheck=False)
    fixed.flags.writeable = True
    fixed[0] = 7
    columns[0, 0] = 9
    print(small, fixed, transposed[0, 0])


if __name__ == "__main__":
    next(counters[0])
    if sys.version_info < (3, 14):
        next(cycle)
    warnings.simplefilter("error")
    process = multiprocessing.get_context("fork").Process(target=show)
    process.start()
    process.join()
    print(process.exitcode)

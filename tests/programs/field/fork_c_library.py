"""Libraries of C that a program has loaded, with what it says of their functions."""

import ctypes
import ctypes.util
import multiprocessing
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.strlen.restype = ctypes.c_size_t
libc.strlen.argtypes = [ctypes.c_char_p]
strlen = libc.strlen
libm = ctypes.cdll.LoadLibrary(ctypes.util.find_library("m"))
libm.sqrt.restype = ctypes.c_double
libm.sqrt.argtypes = (ctypes.c_double,)
power = libm["pow"]
power.restype, power.argtypes = ctypes.c_double, (ctypes.c_double, ctypes.c_double)
ctypes.pythonapi.PyLong_FromLong.restype = ctypes.py_object
ToInt = ctypes.POINTER(ctypes.c_int)


def check(result, _function, _arguments):
    if result < 0:
        raise OSError(ctypes.get_errno(), "no")
    return result


libc.close.errcheck = check


class Library(ctypes.CDLL):
    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def magnitude(self, number):
        self.calls.append(number)
        return self.abs(number)


class Holder:
    def __init__(self):
        self.function = libc.abs


@ctypes.CFUNCTYPE(ctypes.c_int, ToInt, ToInt)
def ascending(one, other):
    return one[0] - other[0]


library, holder = Library(None), Holder()
library.magnitude(-1)
numbers = (ctypes.c_int * 4)(3, 1, 2, 0)


def work(function):
    print(libc.getpid() == os.getpid(), libc.strlen(b"abcd"), strlen is libc.strlen, strlen(b"ab"), libm.sqrt(4.0))
    print(power(2.0, 5.0), holder.function(-3), holder.function is libc.abs, function(-4))
    print(library.magnitude(-5), library.calls, type(library) is Library, ctypes.pythonapi.PyLong_FromLong(3))
    try:
        libc.close(-1)
    except OSError as e:
        print(e.errno)
    libc.qsort(numbers, 4, ctypes.sizeof(ctypes.c_int), ascending)
    print(list(numbers))


if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=work, args=(libc.abs,))
    process.start()
    process.join()
    print(process.exitcode)

"""Structures that know one another, hold objects of their own, lie in buffers, and are patched."""

import ctypes
import multiprocessing as mp


def make_devices():
    class Device(ctypes.Structure):
        pass

    class Port(ctypes.Structure):
        _fields_ = (("number", ctypes.c_int), ("device", ctypes.POINTER(Device)))

    Device._fields_ = (("ports", Port * 4), ("handlers", ctypes.POINTER(Port * 2)), ("id", ctypes.c_int))
    return Port, Device


def make_point():
    class Point(ctypes.Structure):
        _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int))
        cache = {}

        def double(self):
            return self.x * 2

    Point.ORIGIN = Point(3, 4)
    Point.cache["far"] = Point(9, 9)
    return Point


class Header(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_ubyte), ("length", ctypes.c_ubyte))


class Small(ctypes.Structure):
    __slots__ = ("note",)
    _fields_ = (("n", ctypes.c_int),)


def refuse(result, _function, arguments):
    if result < 0:
        raise ValueError("negative", arguments[0])
    return result


Port, Device = make_devices()
Point = make_point()
frame = bytearray(8)
header = Header.from_buffer(frame, 2)
table = (Point * 3)((1, 2), (3, 4), (5, 6))
to_table = ctypes.cast(table, ctypes.POINTER(Point))
second = to_table[1]
small = Small(5)
small.note = "nn"
numbers = (ctypes.c_ubyte * 4)(1, 2, 3, 4)
view = memoryview(numbers)


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
def negate(n):
    return -n


negate.errcheck = refuse
shared = mp.get_context("fork").RawArray(Point, 3)
mine = shared[1]


def count():
    mine.x += 1


def work():
    device = Device(id=1)
    for n in range(4):
        device.ports[n].number = n
    print(device.id, ctypes.sizeof(Device), [port.number for port in device.ports], Device._fields_[1][1]._type_ is Port * 2)
    print(Point.ORIGIN.x, Point.cache["far"].y, Point(7, 0).double(), ctypes.sizeof(Point), type(Point.ORIGIN) is Point)
    header.kind, header.length, second.x, numbers[0] = 7, 5, 33, 9
    print(bytes(frame), table[1].x, small.n, small.note, view[0], view.nbytes)
    try:
        negate(4)
    except ValueError as e:
        print(e.args)
    count()
    inner = mp.get_context("fork").Process(target=count)
    inner.start()
    inner.join()


if __name__ == "__main__":
    process = mp.get_context("fork").Process(target=work)
    process.start()
    process.join()
    print(process.exitcode, mine.x)

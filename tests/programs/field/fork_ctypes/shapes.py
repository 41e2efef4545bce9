"""Types of C in a module whose name is not the one under which it is found."""

import ctypes

__name__ = "elsewhere"


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))

    def total(self):
        return self.x + self.y


class Bits(ctypes.LittleEndianStructure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("low", ctypes.c_uint8, 3), ("high", ctypes.c_uint8, 5), ("rest", ctypes.c_uint32))


class Either(ctypes.Union):
    _fields_ = (("number", ctypes.c_uint32), ("real", ctypes.c_float))


class Swapped(ctypes.BigEndianStructure):
    _fields_ = (("number", ctypes.c_uint32),)


class Named(Point):
    _anonymous_ = ("either",)
    _fields_ = (("either", Either), ("three", ctypes.c_int * 3))


Points = Point * 2
ToPoint = ctypes.POINTER(Point)

"""Types and objects of ctypes: made by functions, in modules of another name, laid out in circles, shared and not."""

import ctypes
import multiprocessing
from multiprocessing.sharedctypes import Value

import shapes


def make_local():
    class Local(ctypes.Structure):
        """Made by a function."""

        _fields_ = (("n", ctypes.c_long),)

        def twice(self):
            return self.n * 2

    return Local


def make_circle():
    class Entry(ctypes.Structure):
        pass

    class Shelf(ctypes.Structure):
        _fields_ = (("last", ctypes.POINTER(Entry)),)

    Entry._fields_ = (("shelf", Shelf), ("next", ctypes.POINTER(Entry)), ("number", ctypes.c_int))
    return Entry, Shelf


class Here(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char * 5), ("four", ctypes.c_short * 4))


class Counter(ctypes.c_int):
    step = 2

    def up(self):
        self.value += self.step
        return self.value


Local = make_local()
Entry, Shelf = make_circle()
Compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
Plain = type("Plain", (), {"_fields_": {"kept": 1}, "_type_": [2]})  # has nothing to do with C

local = Local(4)
here = Here(b"hey", (1, 2, 3, 4))
here.extra = [here]
counter = Counter(3)
bits, named, swapped = shapes.Bits(1, 2, 3), shapes.Named(1, 2.0), shapes.Swapped(1)
named.number = 0x3F800000
points = shapes.Points((1, 2), (3, 4))
second = points[1]
numbers = (ctypes.c_int * 4)(3, 1, 2, 0)
first = ctypes.cast(numbers, ctypes.POINTER(ctypes.c_int))
one = ctypes.c_int(5)
to_one, to_nothing = ctypes.pointer(one), ctypes.POINTER(ctypes.c_int)()
text, any_object = ctypes.c_char_p(b"hello"), ctypes.py_object([1, 2])
plain = bytearray(8)
over = ctypes.c_uint32.from_buffer(plain, 4)
buffer = ctypes.create_string_buffer(b"abc", 10)


@Compare
def plus_one(n):
    return n + 1


def show(*shared):
    print(local.n, local.twice(), type(local) is Local, Local.__doc__, ctypes.sizeof(Local))
    print(ctypes.sizeof(Entry), ctypes.sizeof(Shelf), Entry(number=3).number, Shelf._fields_[0][1]._type_ is Entry)
    print(here.text, list(here.four), here.extra[0] is here, Here.four.offset, repr(type(here.four)))
    print(counter.up(), type(counter) is Counter, Plain._fields_, Plain._type_)
    print(bits.low, bits.high, bits.rest, ctypes.sizeof(bits), shapes.Bits._pack_, type(bits) is shapes.Bits)
    print(named.total(), named.real, list(named.three), bytes(swapped), shapes.Named.__mro__[1] is shapes.Point)
    print(shapes.ToPoint is ctypes.POINTER(shapes.Point), shapes.ToPoint(second).contents.y, type(points) is shapes.Points)
    print(plus_one(3), type(plus_one) is Compare, ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int) is Compare)
    # What shares memory still does.
    numbers[0] = one.value = over.value = second.x = 33
    print(points[1].x, first[0], first[3], to_one.contents.value, bool(to_nothing), bytes(plain[4:5]))
    print(text.value, any_object.value, buffer.value, len(buffer))
    for value in shared:
        print(type(value).__name__, type(value) in (Local, shapes.Point, Here), value._fields_[0][0])
    shared[0].n, shared[1].x, shared[2].text = 99, 55, b"there"


if __name__ == "__main__":
    shared = [Value(Local, 3, lock=False), Value(shapes.Point, 3, 2, lock=False), Value(Here, lock=False)]
    process = multiprocessing.get_context("fork").Process(target=show, args=shared)
    process.start()
    process.join()
    print(process.exitcode, shared[0].n, shared[1].x, shared[2].text)

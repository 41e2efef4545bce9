"""Views of shared memory that do not say so: of records, by subclasses, pointers, interfaces, parts of structures."""

import ctypes
import multiprocessing as mp

import numpy as np


class Frame(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int), ("pixels", ctypes.c_ubyte * 16))


class Image(np.ndarray):
    pass


class Holder:
    def __init__(self, held):
        self.held = held
        self.__array_interface__ = {"shape": (4,), "typestr": "<f8", "data": (ctypes.addressof(held) + 8, False), "version": 3}


mp.set_start_method("fork")
records = mp.RawArray("B", 24 * 4)
particles = np.frombuffer(records, [("id", "i8"), ("x", "f8"), ("y", "f8")]).view(np.recarray)
row = particles[1]
grid = mp.RawArray("d", 12)
image = np.frombuffer(grid).view(Image)
image.title = "a grid"
masked = np.ma.masked_array(np.frombuffer(grid), mask=[0] * 11 + [1])
matrix = np.asmatrix(np.frombuffer(grid).reshape(3, 4))
held = np.asarray(Holder(grid))
by_pointer = np.ctypeslib.as_array(ctypes.cast(grid, ctypes.POINTER(ctypes.c_double)), shape=(12,))
tail = np.frombuffer((ctypes.c_double * 4).from_buffer(grid, 64))
frame = mp.Value(Frame)
pixels = np.frombuffer(frame.pixels, "u1")
numbers = mp.RawArray("B", 64)
head, body = memoryview(numbers).cast("B")[:8], memoryview(np.frombuffer(numbers, "u1"))[8:]
words, square = memoryview(numbers).cast("B").cast("i"), memoryview(numbers).cast("B").cast("h", (8, 4))
plain = memoryview(numbers).cast("B")
every_third, constant = plain[1::3], plain.toreadonly()[40:]
chunks = [memoryview(b"abcdefgh")[i : i + 2] for i in range(0, 8, 2)]
own = (ctypes.c_int * 4)()
of_own, part_of_rec = np.ctypeslib.as_array(own), np.zeros(3, [("a", "i4")]).view(np.recarray)
part = part_of_rec[1:]


def work(go, here):
    particles.x[0], row["y"] = 1.5, 4
    image[0], masked[1], matrix[0, 2], held[2], by_pointer[4], tail[0] = 2, 3, 4, 5, 6, 7
    with frame.get_lock():
        frame.number += 1
        pixels[:] = 7
    words[1], square[2, 1], every_third[0], body[40] = 5, 6, 8, 9
    here.set()
    go.wait()
    print(type(row).__name__, type(image).__name__, image.title, masked.mask[-1], type(matrix).__name__)
    views = (head, body, words, square, every_third, constant, chunks[1])
    print([(type(one).__name__, one.format, one.shape, one.readonly) for one in views], head[0], body[1], constant[0])
    own[1], part_of_rec.a[2] = 9, 8
    print(of_own[1], part.a[1], chunks[3].tolist())


if __name__ == "__main__":
    go, here = mp.Event(), mp.Event()
    process = mp.Process(target=work, args=(go, here))
    process.start()
    here.wait()
    numbers[0], numbers[9], numbers[40] = 1, 2, 3
    go.set()
    process.join()
    print(process.exitcode, particles.tolist(), grid[:], frame.number, sum(frame.pixels), numbers[:])

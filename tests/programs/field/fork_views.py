"""Numpy's views of a file that is mapped, of a bytearray and of an array of Python's: what one of them writes all see."""

import array
import multiprocessing as mp

import numpy as np

mapped = np.memmap("mapped.dat", dtype="i4", mode="w+", shape=(6,))
part, plain, square = mapped[2:], np.asarray(mapped), mapped.reshape(2, 3)
columns = np.memmap("columns.dat", dtype="i2", mode="w+", shape=(2, 3), order="F")
columns[:] = [[1, 2, 3], [4, 5, 6]]
raw, numbers = bytearray(8), array.array("i", [1, 2, 3])
slices = [memoryview(raw)[1::2], memoryview(raw)[6:1:-2], memoryview(numbers)[::-1], memoryview(raw)[3:3]]
between, one = memoryview(numbers).cast("B")[2:10].cast("i"), memoryview(np.array(3, "i4"))
table = np.arange(4.0).reshape(2, 2)
of_table = memoryview(table)
of_raw, of_numbers = np.frombuffer(raw, "u1"), np.frombuffer(numbers, "i4")[1:]


def work():
    mapped[0] = 1
    part[0] = 2
    plain[5] = 3
    square[1, 1] = 9
    print(
        mapped.tolist(),
        type(part).__name__,
        type(square).__name__,
        type(plain).__name__,
        mapped.mode,
        columns.tolist(),
        columns.T[0],
    )
    part.flush()
    raw[0] = 4
    of_raw[1] = 5
    of_numbers[0] = 7
    print(of_raw[:2], bytes(raw[:2]), numbers)
    slices[0][3], slices[1][1], slices[2][0], table[0, 1] = 6, 8, 10, 11
    print(between.tolist(), one.shape, one.tolist(), memoryview(np.broadcast_to(np.array(3), 2)).tolist())
    print([(type(one).__name__, one.tolist(), one.format) for one in slices], raw, numbers, of_table.tolist())


if __name__ == "__main__":
    mp.set_start_method("fork")
    process = mp.Process(target=work)
    process.start()
    process.join()
    print(process.exitcode, mapped.tolist(), raw, numbers)

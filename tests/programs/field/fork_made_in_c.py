"""What is made in C, or by a function that has not begun; and messages, which are pickled as ever."""

import ctypes
import json
import multiprocessing as mp
import random


def count(start, *rest, step=1, **more):
    for number in range(start, start + 3):
        yield number * step, rest, more


def enclosing():
    kept = [5]

    def inner():
        yield kept
        kept.append(1)
        yield kept

    return inner()


numbers = [1, 2, 3]
counting, doubled, enclosed = count(1, 2, step=3, x=4), (x * 2 for x in numbers if x in numbers), enclosing()
decoder, encoder, source = json.JSONDecoder(parse_float=str), json.JSONEncoder(indent=1), random.SystemRandom()
row, square = (ctypes.c_int * 3)(1, 2, 3), ((ctypes.c_double * 2) * 2)()


def work(given):
    print(list(counting), list(doubled), list(enclosed), list(given))
    print(decoder.decode('{"a": [1.5]}'), encoder.encode([1]), 0 <= source.random() < 1, list(row), square[1][0])


if __name__ == "__main__":
    mp.set_start_method("fork")
    process = mp.Process(target=work, args=((number for number in (7, 8)),))
    process.start()
    process.join()
    print(process.exitcode, list(counting), list(doubled))
    one, other = mp.Pipe()
    for message in ((number for number in numbers), decoder):
        try:
            one.send(message)
        except TypeError as e:
            print(e)

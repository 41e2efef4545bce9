"""Functions of the system's that a test has replaced when processes start."""

import multiprocessing as mp
import os
from unittest import mock


def work():
    with open("none") as file:
        print(file.read(), open.called)


def read(number):
    with open("none") as file:
        return file.read() + str(number)


def where():
    print(os.getcwd(), os.path.exists("none"))


def run(target, *args):
    process = mp.Process(target=target, args=args)
    process.start()
    process.join()
    print(process.exitcode)


if __name__ == "__main__":
    mp.set_start_method("fork")
    with mock.patch("builtins.open", mock.mock_open(read_data="data")):
        run(work)
        with mp.Pool(2) as pool:
            print(pool.map(read, [1, 2]))
    with mock.patch("os.getcwd", return_value="/nowhere"):
        run(where)
    with mock.patch("os.getcwd"):
        run(print, "mocked")
    run(print, "after")

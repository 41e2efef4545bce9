"""Standard output that the program has configured anew, or wrapped after it was detached; what pool tasks print is not lost."""

import io
import multiprocessing as mp
import os
import sys

mp.set_start_method("fork")


def show():
    print("é", sys.stdout.encoding, sys.stdout.line_buffering, sys.stdout.write_through)


def leave():
    print("a line before the end")
    os._exit(0)


def say(number):
    print("task", number)


def run(target):
    process = mp.Process(target=target)
    process.start()
    process.join()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=False, write_through=False)
    run(show)
    sys.stdout.reconfigure(encoding="ascii", errors="backslashreplace", line_buffering=True)
    run(show)
    run(leave)
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=False, write_through=True)
    run(show)
    sys.stdout.flush()
    sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-8", line_buffering=True)
    run(show)
    with mp.Pool(1) as pool:
        pool.map(say, range(3))

"""A process that allocates more and more memory after a line on the program's standard input."""

import multiprocessing
import sys


def eat(go_on):
    print("ready", flush=True)
    go_on.get()
    eaten = []
    while True:
        eaten.append(b"x" * (1 << 24))


if __name__ == "__main__":
    go_on = multiprocessing.Queue()
    process = multiprocessing.Process(target=eat, args=(go_on,))
    process.start()
    sys.stdin.readline()
    go_on.put(None)
    process.join()
    print(process.exitcode)

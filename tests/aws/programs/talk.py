"""A worker prints a line on each stream, and continues after each line on the program's standard input."""

import multiprocessing
import sys


def worker(go):
    for n in range(3):
        print("out", n)
        print("err", n, file=sys.stderr)
        go.acquire()
    sys.stdout.write("no newline")


if __name__ == "__main__":
    go = multiprocessing.Semaphore(0)
    process = multiprocessing.Process(target=worker, args=(go,))
    process.start()
    for _ in range(3):
        sys.stdin.readline()
        go.release()
    process.join()
    sys.stdout.write(f" code {process.exitcode}\n")

"""A table that its maker fills and others read takes memory once on a machine."""

import multiprocessing
import threading
from pathlib import Path

import numpy as np

SIZE = 32 << 20
READERS = 3


def share(table):
    """How much of the table's memory counts as this process': a page that n processes map counts as 1/n."""
    first = np.frombuffer(table, np.uint8).ctypes.data
    total, is_part = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head, *rest = line.split()
        if "-" in head and not head.endswith(":"):
            start, end = (int(place, 16) for place in head.split("-"))
            is_part = start < first + SIZE and first < end
        elif head == "Pss:" and is_part:
            total += int(rest[0]) << 10
    return total


def read(table, number, connection):
    numbers = np.frombuffer(table, np.int64)
    connection.send(int(numbers.sum()))
    connection.recv()
    connection.send(share(table))
    # Writing to it gives this process a page of its own, and changes what the others read.
    connection.recv()
    numbers[number * 1000] = 0
    connection.send(None)
    connection.recv()


if __name__ == "__main__":
    # Most programs have threads that wait, such as those of a pool.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    context = multiprocessing.get_context("spawn")
    table = context.RawArray("b", SIZE)
    numbers = np.frombuffer(table, np.int64)
    numbers[:] = range(len(numbers))
    pipes = [context.Pipe() for _ in range(READERS)]
    readers = [context.Process(target=read, args=(table, n, theirs)) for n, (_, theirs) in enumerate(pipes)]
    for reader in readers:
        reader.start()
    ours = [own for own, _ in pipes]
    print([connection.recv() for connection in ours])
    print(int(numbers.sum()))
    for connection in ours:
        connection.send(None)
    total = share(table) + sum(connection.recv() for connection in ours)
    print("at most 1.2 copies", total <= 1.2 * SIZE)
    for connection in ours:
        connection.send(None)
        connection.recv()
    print(int(numbers.sum()))
    for connection in ours:
        connection.send(None)
    for reader in readers:
        reader.join()

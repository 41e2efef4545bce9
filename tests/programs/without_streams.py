"""A program without some of its standard streams: what it and its workers see of them goes to the file that it is given."""

import multiprocessing
import os
import sys


def writes(fd):
    try:
        os.write(fd, b"")
    except OSError as e:
        return type(e).__name__
    return True


def look(depth):
    """What this process sees, then a child of it."""
    print("printed")
    found = [writes(1), writes(2), sys.stdout is None, sys.stderr is None]
    return found + (in_child(depth - 1) if depth else [])


def send(connection, depth):
    connection.send(look(depth))


def in_child(depth):
    context = multiprocessing.get_context(sys.argv[1])
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=send, args=(writer, depth))
    child.start()
    writer.close()
    found = reader.recv()
    child.join()
    return [*found, child.exitcode]


if __name__ == "__main__":
    found = look(2)
    with open(sys.argv[2], "w") as f:
        f.write(f"{found}\n")

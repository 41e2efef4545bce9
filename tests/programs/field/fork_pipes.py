"""Pipes of `os.pipe()` in forked processes: their numbers, the files made of them, and the end of file."""

import multiprocessing
import os
import select


class Flag:
    """As the consumer of huey has one."""

    def __init__(self):
        self.reader, self.writer = os.pipe()

    def set(self):
        os.write(self.writer, b"x")

    def is_set(self, milliseconds):
        poller = select.poll()
        poller.register(self.reader, select.POLLIN)
        return bool(poller.poll(milliseconds))


def wait(flag, begun, others):
    print("set", flag.is_set(0), others, flush=True)
    begun.set()
    print("set", flag.is_set(60_000), flush=True)


def answer(reader, writer, file):
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        out.write("from the worker\n")
    file.write(f"{file.fileno() == FILE}\n")
    file.close()


def talk(reader, writer, other):
    os.close(other)
    line = os.read(reader, 100)
    os.write(writer, line.upper())
    os.close(reader)
    os.close(writer)


def main():
    global FILE
    context = multiprocessing.get_context("fork")
    flag, begun = Flag(), context.Event()
    closed = os.pipe()
    for end in closed:
        os.close(end)
    process = context.Process(target=wait, args=(flag, begun, [os.path.exists(f"/proc/self/fd/{end}") for end in closed]))
    process.start()
    begun.wait()
    flag.set()
    process.join()
    print(process.exitcode)

    reader, writer = os.pipe()
    other, end = os.pipe()
    file = os.fdopen(end, "w")
    FILE = file.fileno()
    process = context.Process(target=answer, args=(reader, writer, file))
    process.start()
    os.close(writer)
    file.close()
    with os.fdopen(reader) as lines:
        print(lines.readlines())
    with os.fdopen(other) as lines:
        print(lines.readlines())
    process.join()

    reader, writer = os.pipe()
    back, forth = os.pipe2(os.O_CLOEXEC)
    process = context.Process(target=talk, args=(reader, forth, writer))
    process.start()
    os.close(reader)
    os.close(forth)
    os.write(writer, b"through pipes")
    os.close(writer)
    print(os.read(back, 100), os.read(back, 100))
    process.join()
    print(process.exitcode)


if __name__ == "__main__":
    main()

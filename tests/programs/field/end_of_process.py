"""What a process leaves behind at its end: buffers of open files, objects with `__del__`, threads that still send."""

import gzip
import multiprocessing as mp
import os
import signal
import sys
import tempfile
import textwrap
import threading
import time

NAME = "a global"


class Told:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("deleted", self.name, NAME, os is not None, flush=True)


class Log:
    def __init__(self, path):
        self.file = open(path, "w")  # noqa: SIM115 - it stays open
        self.itself = self


def leave_an_argument(_):
    pass


def leave_files_open(path):
    global text, binary, packed, kept, log
    text, binary, packed = open(path + ".txt", "w"), open(path + ".bin", "wb"), gzip.open(path + ".gz", "wt")  # noqa: SIM115
    text.write("text")
    binary.write(b"binary")
    packed.write("packed")
    log = Log(path + ".log")
    log.file.write("a line")
    kept = Told("in a global")


def leave_a_thread(path):
    global text
    text = open(path + ".thread", "w")  # noqa: SIM115 - the same
    text.write("thread")
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def exit_early():
    global kept
    kept = Told("at an exit")
    sys.exit(3)


class Process(mp.Process):
    def run(self):
        global kept
        kept = Told("of a class")


class ProcessWithState(mp.Process):
    def run(self):
        self.own = Told("an attribute")


def stay_known():
    global kept
    kept = Told("known to a library")
    gzip.hook = stay_known


def replace_handlers():
    global kept
    kept = Told("under a handler")
    signal.signal(signal.SIGTERM, lambda *_: kept.name)
    sys.stdout = Tee(sys.stdout)
    print("through a stream of the program")


class Tee:
    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        return textwrap.dedent and self.stream.write(text)

    def flush(self):
        return textwrap.dedent and self.stream.flush()


def put_and_cancel(queue):
    for i in range(10):
        queue.put("y" * i)
    queue.cancel_join_thread()


def beat(queue):
    def send():
        while True:
            queue.put("beat")

    threading.Thread(target=send, daemon=True).start()


def content(path):
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened as file:
        try:
            return file.read()
        except EOFError:
            return "cut off"


if __name__ == "__main__":
    mp.set_start_method(sys.argv[1])
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "out")
    for target, args in (
        (leave_an_argument, (Told("an argument"),)),
        (leave_files_open, (path,)),
        (leave_a_thread, (path,)),
        (exit_early, ()),
        (stay_known, ()),
        (replace_handlers, ()),
    ):
        process = mp.Process(target=target, args=args)
        process.start()
        process.join()
        print(process.exitcode, flush=True)
    for process in (Process(), ProcessWithState()):
        process.start()
        process.join()
    for name in sorted(os.listdir(folder)):
        print(name, content(os.path.join(folder, name)), flush=True)
    codes = set()
    for _ in range(15):
        for target, queue in ((put_and_cancel, mp.Queue()), (beat, mp.SimpleQueue())):
            process = mp.Process(target=target, args=(queue,))
            process.start()
            process.join()
            codes.add(process.exitcode)
    print(codes, flush=True)

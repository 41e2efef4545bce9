"""What the program has closed is closed in a forked process, and of the same kind."""

import csv
import io
import multiprocessing as mp
import multiprocessing.connection
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile

mp.set_start_method("fork")
os.chdir(tempfile.mkdtemp())
with open("in.csv", "w") as f:
    f.write('a,b\n1,2\n"3\n3",4\n5,6\n')


def closed(one):
    one.close()
    return one


things = {
    "connection": closed(mp.Pipe()[0]),
    "writer": closed(open("out", "wb")),
    "reader": closed(open("in.csv", "rb")),
    "random": closed(open("in.csv", "r+b")),
    "raw": closed(open("in.csv", "rb", buffering=0)),
    "text": closed(open("in.csv")),
    "text in memory": closed(io.StringIO("text")),
    "bytes in memory": closed(io.BytesIO(b"bytes")),
    "temporary": closed(tempfile.TemporaryFile()),
    "named": closed(tempfile.NamedTemporaryFile()),
    "spooled": closed(tempfile.SpooledTemporaryFile()),
    "socket": closed(socket.socket()),
    "udp": closed(socket.socket(type=socket.SOCK_DGRAM)),
    "database": closed(sqlite3.connect(":memory:")),
}
written_to = closed(open("written", "w"))
wrapped = io.TextIOWrapper(io.BytesIO(b"one\ntwo\n"))
wrapped.readline()
buffered = io.BufferedReader(io.BytesIO(b"hello world"))
buffered.read(3)
ended = subprocess.Popen([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE)
ended.communicate()
things["output"] = ended.stdout
open_ones = {"bytes": io.BytesIO(b"abc"), "text": io.StringIO("abc")}
open_ones["bytes"].read(1)


def look(name):
    thing = things[name]
    state = getattr(thing, "closed", None)
    if name == "database":
        try:
            thing.execute("SELECT 1")
        except sqlite3.ProgrammingError as e:
            state = str(e)
    if isinstance(thing, socket.socket):
        state = thing.fileno(), thing.family.name, thing.type.name
    print(name, type(thing).__name__, getattr(thing, "mode", None), state, flush=True)


class Log:
    """Opens its file again where it was closed."""

    def __init__(self):
        self.file = closed(open("log", "wb"))

    def write(self, line):
        if self.file.closed:
            self.file = open(self.file.name, "ab")
        self.file.write(line)
        self.file.flush()


log = Log()
rows = csv.reader(open("in.csv"))
table = csv.DictReader(open("in.csv"))
lines = csv.reader(iter(["1;2", "3;'4;5'"]), delimiter=";", quotechar="'")
next(lines)
out = open("out.csv", "w", newline="")
writer = csv.writer(out, delimiter=";")
collected = []
collector = csv.writer(type("Sink", (), {"write": collected.append})())
dict_writer = csv.DictWriter(out, ["a", "b"], dialect="unix")


def use():
    log.write(b"child\n")
    print(written_to.name, written_to.mode, written_to.closed, wrapped.readline(), buffered.read(4))
    print(open_ones["bytes"].read(), open_ones["text"].read())
    print(next(rows), rows.line_num, next(table), table.line_num)
    print(list(lines), lines.line_num)
    print(list(rows), rows.line_num, list(table), table.line_num)
    writer.writerow([1, "a;b"])
    collector.writerow(["x", 1])
    print(collected)
    dict_writer.writerow({"a": 1, "b": 'x"y'})
    out.flush()
    sys.stdout.flush()


class Workers:
    """Closes the child's end after each start, and starts a method of its own."""

    def __init__(self):
        self.ends = []

    def work(self, number):
        print(number, [end.closed for end in self.ends], flush=True)

    def start(self):
        for number in range(3):
            here, there = mp.Pipe()
            self.ends.append(there)
            process = mp.Process(target=self.work, args=(number,))
            process.start()
            there.close()
            process.join()
            print(process.exitcode)
            here.close()


listener = multiprocessing.connection.Listener(authkey=b"key")


def serve():
    with listener.accept() as connection:
        connection.send(connection.recv() + 1)


if __name__ == "__main__":
    for name in things:
        process = mp.Process(target=look, args=(name,))
        process.start()
        process.join()
    process = mp.Process(target=use)
    process.start()
    process.join()
    print(process.exitcode, open("log", "rb").read(), open("out.csv", newline="").read())
    Workers().start()
    process = mp.Process(target=serve)
    process.start()
    with multiprocessing.connection.Client(listener.address, authkey=b"key") as client:
        client.send(1)
        print(client.recv())
    process.join()
    print(process.exitcode)

"""Values that a library compares by identity; weak references to methods; rows of a database."""

import argparse
import http.client
import math
import multiprocessing as mp
import socket
import sqlite3
import weakref

import numpy as np

parser = argparse.ArgumentParser(prog="program")
parser.add_argument("--level", type=int, default=argparse.SUPPRESS)
parser.add_argument("--hidden", help=argparse.SUPPRESS)
names = {math.nan: "not a number"}
connection = http.client.HTTPConnection("127.0.0.1", 1)
database = sqlite3.connect(":memory:")
database.row_factory = sqlite3.Row
rows = database.execute("""SELECT 1 AS one, 'two' AS "a ""quoted"" name" """).fetchall()
masked = np.ma.array([1, 2], mask=[0, 1])[1]


class Listener:
    def hears(self):
        return "heard"


listener = Listener()
listeners = [weakref.WeakMethod(listener.hears), weakref.WeakMethod(Listener().hears)]


def work():
    print([one() and one()() for one in listeners], listeners[0]().__self__ is listener)
    print(parser.parse_args([]), parser.parse_args(["--level", "3"]), "hidden" in parser.format_usage())
    print(names[math.nan], connection.timeout is socket._GLOBAL_DEFAULT_TIMEOUT)
    print([(row["one"], row['a "quoted" name'], row.keys(), len(row)) for row in rows], masked is np.ma.masked)
    try:
        connection.connect()
    except OSError as e:
        print(type(e).__name__)


if __name__ == "__main__":
    mp.set_start_method("fork")
    p = mp.Process(target=work)
    p.start()
    p.join()
    print(p.exitcode)

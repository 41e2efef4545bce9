"""Settings of modules of the standard library, and locks that are held when a process forks."""

import contextvars
import csv
import decimal
import logging
import multiprocessing as mp
import multiprocessing.util
import sqlite3
import threading

logging.addLevelName(10, "detail")
logging.addLevelName(7, "seven")
csv.register_dialect("excel", delimiter=";")
csv.unregister_dialect("unix")
decimal.DefaultContext.traps[decimal.Inexact] = True
plain, replaced, without = (
    contextvars.ContextVar("plain", default=1),
    contextvars.ContextVar("replaced", default=2),
    contextvars.ContextVar("without"),
)
replaced.set(5)
without.set(6)
elsewhere, here, condition = threading.RLock(), threading.RLock(), threading.Condition()
is_held, is_done = threading.Event(), threading.Event()
database = sqlite3.connect(":memory:")
database.text_factory = bytes
database.executescript("create table t(a); insert into t values('x')")
called = []


class Owner:
    name = "owner"


owner, gone = Owner(), Owner()
multiprocessing.util.register_after_fork(owner, lambda one: called.append((one is owner, one.name)))
multiprocessing.util.register_after_fork(gone, lambda one: called.append("never"))
del gone


def hold():
    with elsewhere:
        is_held.set()
        is_done.wait()


def show():
    print(plain.get(), replaced.get(), without.get("none"))


def work():
    print([logging.getLevelName(level) for level in (7, 10, 20)], csv.get_dialect("excel").delimiter, csv.list_dialects())
    print(decimal.DefaultContext.traps[decimal.Inexact], database.execute("select a from t").fetchall())
    print(called)
    show()
    thread = threading.Thread(target=show)
    thread.start()
    thread.join()
    print(elsewhere.acquire(blocking=False), condition._is_owned())
    here.release()
    here.release()
    try:
        here.release()
    except RuntimeError as e:
        print(e)


if __name__ == "__main__":
    mp.set_start_method("fork")
    threading.Thread(target=hold).start()
    is_held.wait()
    with condition, here, here:
        process = mp.Process(target=work)
        process.start()
        process.join()
    is_done.set()
    print(process.exitcode)

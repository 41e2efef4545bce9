"""Settings of the interpreter: trace functions, finalizers, rules of pickling. Threads that change what is being read."""

import multiprocessing as mp
import sys
import tempfile
import threading
import weakref
import xml.dom.minidom
from multiprocessing.reduction import ForkingPickler

mp.set_start_method("fork")
calls, log = [], []
go_on = True
accounts = dict.fromkeys(range(500), 100)


class Connection:
    def __init__(self, name):
        self.name = name
        self.finalizer = weakref.finalize(self, print, "closing", name)

    @property
    def is_closed(self):
        return not self.finalizer.alive


class Handle:
    def __init__(self, name):
        self.name, self.lock = name, threading.Lock()


def rebuild(name):
    return Handle(name)


ForkingPickler.register(Handle, lambda handle: (rebuild, (handle.name,)))


def make(number):
    return Handle(f"handle {number}")


def trace(frame, event, argument):
    if frame.f_code.co_name == "step":
        calls.append(event)


def step():
    return 1


def traced():
    step()
    print(sys.gettrace() is trace, sys.getprofile() is trace, len(calls))


def use(connection, closed, folder):
    print(connection.is_closed, closed.is_closed, folder._finalizer.alive)
    closed.finalizer()
    connection.finalizer()


def add():
    while go_on:
        log.append(len(log))


def move():
    i = 0
    while go_on:
        accounts[i % 500] -= 1
        accounts[(i * 7 + 3) % 500] += 1
        i += 1


def check():
    print(len(log) > 0, log == list(range(len(log))), abs(sum(accounts.values()) - 50_000) <= 1)


def show_setting():
    print(getattr(xml.dom.minidom.local, "setting", None))


def run(target, *arguments):
    process = mp.Process(target=target, args=arguments)
    process.start()
    process.join()
    print(process.exitcode)


if __name__ == "__main__":
    sys.settrace(trace)
    run(traced)
    sys.settrace(None)
    sys.setprofile(trace)
    run(traced)
    sys.setprofile(None)

    connection, closed = Connection("open"), Connection("ended")
    closed.finalizer()
    with tempfile.TemporaryDirectory() as name:
        folder = tempfile.TemporaryDirectory(dir=name)
        run(use, connection, closed, folder)
    print(connection.is_closed)
    connection.finalizer.detach()

    with mp.Pool(1) as pool:
        print([handle.name for handle in pool.map(make, range(2))])

    threads = [threading.Thread(target=add), threading.Thread(target=move)]
    for thread in threads:
        thread.start()
    run(check)
    go_on = False
    for thread in threads:
        thread.join()

    # An object of a library without attributes, which gets one after the first start.
    xml.dom.minidom.local = threading.local()
    run(show_setting)
    xml.dom.minidom.local.setting = 1
    run(show_setting)

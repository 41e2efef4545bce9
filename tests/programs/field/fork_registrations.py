"""What a program registers around forks, with codecs, garbage collection and imports, and gives to `sys`."""

import codecs
import gc
import importlib.abc
import importlib.machinery
import multiprocessing as mp  # by the command, which notes it
import os
import sys
import threading

log, seen, traced = [], [], []
os.register_at_fork(
    before=lambda: log.append("before"),
    after_in_parent=lambda: log.append("parent"),
    after_in_child=lambda: log.append("child"),
)
os.register_at_fork(before=lambda: log.append("before 2"))
codecs.register_error("stars", lambda error: ("*", error.end))


def search(name):
    if name != "shout":
        return None
    return codecs.CodecInfo(
        lambda text, errors="strict": (text.upper().encode(), len(text)),
        lambda data, errors="strict": (bytes(data).decode().lower(), len(data)),
        name="shout",
    )


codecs.register(search)
gc.callbacks.append(lambda phase, info: seen.append(phase))
sys.my_attribute = [1]


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "virtual" else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.x = 42


sys.meta_path.append(Finder())


def trace(frame, event, arg):
    traced.append(1)


def run(target):
    process = mp.Process(target=target)
    process.start()
    process.join()
    print(process.exitcode, log, flush=True)


def work():
    import virtual

    print(log, "a\u20ac".encode("ascii", "stars"), "abc".encode("shout"), sys.my_attribute, virtual.x)
    gc.collect()
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    print(bool(seen), bool(traced), gc.get_debug(), flush=True)
    log.clear()
    run(inner)


def inner():
    print(log)


if __name__ == "__main__":
    mp.set_start_method("fork")
    threading.settrace(trace)
    run(work)

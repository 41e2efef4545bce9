"""What a program has taken back is not there again in a worker, and what it has kept is there once."""

import codecs
import gc
import multiprocessing as mp  # by the command, which notes it
import os
import sys

import made

codecs.unregister(made.search)
gc.callbacks.remove(made.removed)
sys.meta_path.remove(made.finder)
os.register_at_fork(after_in_child=made.cache.clear)


def fail():
    raise ValueError("in a hook")


os.register_at_fork(before=fail)


def work():
    print(made.log[-2:], made.cache)
    made.log.clear()
    try:
        print("abc".encode("mine"))
    except LookupError as error:
        print(error)
    gc.collect()
    gc.disable()
    try:
        import nowhere  # noqa: F401 - there is none
    except ImportError:
        print(made.log)


if __name__ == "__main__":
    mp.set_start_method("fork")
    gc.disable()
    made.log.clear()
    made.cache["key"] = 1
    process = mp.Process(target=work)
    process.start()
    process.join()
    print(process.exitcode, made.cache)

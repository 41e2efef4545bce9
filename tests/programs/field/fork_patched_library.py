"""What a program and its mocks put into the standard library, before the first process too, and what starts processes."""

import datetime as dt
import gettext
import inspect
import multiprocessing as mp  # by the command, which is there before the mocks
import os
import queue
import random
import subprocess
import threading
from unittest import mock

random.random = lambda: 0.5
random.Random.choice = lambda self, values: ("chosen", *values)
random.Random.words = property(lambda self: "words of it")


class Frozen(dt.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2020, 1, 2)


dt.datetime = Frozen


def work():
    print(
        random.random(),
        random.Random().choice("ab"),
        random.Random().words,
        subprocess.run("x"),
        dt.datetime.now(),
        isinstance(dt.datetime.now(), Frozen),
    )
    print(_("hi"), inspect.getsource(work), type(os.environ).__name__, os.environ["name"])  # noqa: F821 - set below


def look_at_others():
    print(random.uniform(1, 2), queue.Queue.__name__, threading.Thread.__name__, threading.main_thread().ident is not None)


def say(name):
    print(name, "ran", flush=True)


def run(target, *arguments):
    process = mp.Process(target=target, args=arguments)
    process.start()
    process.join()
    print(process.exitcode, flush=True)


if __name__ == "__main__":
    mp.set_start_method("fork")
    for name in (
        *("socket.socket", "subprocess.Popen", "tempfile.mkdtemp", "pickle.dumps", "pickle.loads", "pickle.load"),
        *("threading.Thread", "functools.partial", "io.BytesIO", "collections.deque"),
    ):
        with mock.patch(name):
            run(say, name)
    random.uniform, queue.Queue = max, queue.LifoQueue
    run(look_at_others)
    gettext.install("domain")
    subprocess.run = lambda *arguments, **_: ("ran", arguments)
    os.environ = {"name": "value"}  # noqa: B003 - as programs do
    with mock.patch("inspect.getsource", return_value="source"):
        run(work)

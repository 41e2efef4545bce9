"""Settings of the interpreter before a fork: logging, streams, signals, numbers, limits."""

import atexit
import decimal
import gc
import logging
import multiprocessing
import os
import signal
import sys
import time
import warnings

import numpy as np


class Loud:
    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        self.stream.write(text.upper())

    def flush(self):
        self.stream.flush()


def stop(number, frame):
    print("stopped by", signal.Signals(number).name, flush=True)
    sys.exit(7)


def recurse(n):
    return n and 1 + recurse(n - 1)


def look():
    logging.getLogger("program").info("from a process")
    warnings.warn("not to be seen", stacklevel=1)
    print(decimal.Decimal(1) / 3, recurse(3000), gc.isenabled(), np.random.randint(1000), time.tzname[0])
    print("pid" in os.environ, signal.getsignal(signal.SIGINT) is signal.SIG_IGN, flush=True)


def wait(ready):
    ready.set()
    while True:
        time.sleep(1)


def say():
    print("quietly")


def run(target, *arguments):
    process = multiprocessing.Process(target=target, args=arguments)
    process.start()
    return process


def leave():
    lock.acquire()
    print("left", lock.acquire(block=False))


atexit.register(leave)
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)
warnings.simplefilter("ignore")
decimal.getcontext().prec = 5
sys.setrecursionlimit(20_000)
np.random.seed(3)
gc.disable()
os.environ["TZ"], os.environ["pid"] = "Asia/Tokyo", "1"
time.tzset()
signal.signal(signal.SIGTERM, stop)
before = signal.signal(signal.SIGINT, signal.SIG_IGN)
run(look).join()
signal.signal(signal.SIGINT, before)
ready = multiprocessing.Event()
process = run(wait, ready)
ready.wait()
process.terminate()
process.join()
print(process.exitcode, flush=True)
stdout = sys.stdout
sys.stdout = Loud(stdout)
run(say).join()
sys.stdout = stdout
lock = multiprocessing.Lock()

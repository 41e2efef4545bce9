"""A process that ends in the way that its argument names."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time


def raises():
    raise ValueError("boom")


def os_exit():
    os._exit(3)


def sys_exit():
    sys.exit(4)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def crashes():
    ctypes.string_at(0)


def too_long():
    print("running", flush=True)
    time.sleep(100)


def nothing():
    pass


if __name__ == "__main__":
    process = multiprocessing.Process(target=globals()[sys.argv[1]])
    process.start()
    if len(sys.argv) > 2:
        sys.stdin.readline()
        getattr(process, sys.argv[2])()
    process.join()
    print("pid", process.pid, "code", process.exitcode)

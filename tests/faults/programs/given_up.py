"""A signal handler raises in an `acquire` whose answer is late."""

import multiprocessing
import signal

from shared import shared


class TooLongError(Exception):
    pass


def too_long(*_):
    raise TooLongError


if __name__ == "__main__":
    lock = shared(multiprocessing.Lock())
    with lock:
        pass
    signal.signal(signal.SIGALRM, too_long)
    print("ready", flush=True)
    input()
    signal.setitimer(signal.ITIMER_REAL, 1.2)
    try:
        lock.acquire()
    except TooLongError:
        print("given up", flush=True)
    input()
    print("free again", lock.acquire(timeout=10), flush=True)

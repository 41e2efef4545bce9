"""Workers that stop cleanly when they are told to, and leave Ctrl-C to the program."""

import multiprocessing
import os
import signal
import sys
import time


def work(ready, results):
    def stop(number, frame):
        results.send(("stopped by", signal.Signals(number).name))
        sys.exit(7)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, lambda *_: results.send(("told", "SIGUSR1")))
    ready.set()
    while True:
        time.sleep(0.01)  # signal.pause() misses a signal that arrives just before the system call


def start():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def pid(_):
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


if __name__ == "__main__":
    ready = multiprocessing.Event()
    # A pipe, not a queue: a handler that interrupts another handler would wait for the queue's lock.
    told, results = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=work, args=(ready, results))
    process.start()
    ready.wait()
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGUSR1)
    print(told.recv())
    process.terminate()
    print(told.recv())
    process.join()
    print("exit code", process.exitcode)
    with multiprocessing.Pool(2, start) as pool:
        print(pool.map(pid, range(2)))

"""Workers that finish what they have begun when they are told to stop, and leave Ctrl-C to the program."""

import multiprocessing
import os
import signal
import sys


def work(ready, results):
    def stop(number, frame):
        results.put(("stopped by", signal.Signals(number).name))
        sys.exit(7)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, lambda *_: results.put(("told", "SIGUSR1")))
    ready.set()
    while True:
        signal.pause()


def start():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def pid(_):
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


if __name__ == "__main__":
    ready, results = multiprocessing.Event(), multiprocessing.Queue()
    process = multiprocessing.Process(target=work, args=(ready, results))
    process.start()
    ready.wait()
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGUSR1)
    print(results.get())
    process.terminate()
    print(results.get())
    process.join()
    print("exit code", process.exitcode)
    with multiprocessing.Pool(2, start) as pool:
        print(pool.map(pid, range(2)))

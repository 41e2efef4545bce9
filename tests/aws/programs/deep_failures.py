"""Processes of a process fail: a parent in a function sees the exit codes of children that could not start or were killed."""

import multiprocessing
import os
import signal


def kill_oneself():
    os.kill(os.getpid(), signal.SIGKILL)


def child(queue):
    for target in (kill_oneself, os.getpid):
        process = multiprocessing.Process(target=target)
        process.start()
        process.join()
        queue.put(process.exitcode)
    sleeper = multiprocessing.Process(target=signal.pause)
    sleeper.start()
    sleeper.terminate()
    sleeper.join()
    queue.put(sleeper.exitcode)


if __name__ == "__main__":
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=child, args=(queue,))
    process.start()
    print([queue.get() for _ in range(3)])
    process.join()

"""A store does not answer for a while: a wait with a time-out ends in time, and all other waits outlast the outage.

Prints `cut` when the store may stop answering, and continues when a line arrives on standard input.
"""

import multiprocessing
import threading
from multiprocessing.connection import wait


def double(x):
    return 2 * x


def acquire(lock, timeout, word):
    if lock.acquire(timeout=timeout) == (timeout is None):
        print(word, flush=True)


if __name__ == "__main__":
    lock = multiprocessing.Lock()
    reader, writer = multiprocessing.Pipe(duplex=False)
    pool = multiprocessing.Pool(2)
    lock.acquire()
    impatient = threading.Thread(target=acquire, args=(lock, 1.5, "gave up"))
    patient = threading.Thread(target=acquire, args=(lock, None, "got it"))
    impatient.start()
    patient.start()
    print(pool.map(double, range(3)), wait([reader], 0.1))
    print("cut", flush=True)
    impatient.join()
    input()
    lock.release()
    patient.join()
    lock.release()
    print(lock.acquire(timeout=30))
    threading.Timer(0.2, writer.send, ("hello",)).start()
    print(wait([reader], 30) == [reader], reader.recv())
    print(pool.map(double, range(3)))
    process = multiprocessing.Process(target=double, args=(1,))
    process.start()
    process.join()
    print(process.exitcode)
    pool.close()
    pool.join()

"""Time-outs that are no number, sizes that cannot be had: an error each, and no harm to what comes after."""

import multiprocessing as mp
import multiprocessing.connection
from multiprocessing import shared_memory

NAN = float("nan")


def show(name, call):
    try:
        print(name, call())
    except Exception as e:
        print(name, type(e).__name__)


def wait(condition):
    with condition:
        return condition.wait(NAN)


if __name__ == "__main__":
    lock, queue, (reader, _) = mp.Lock(), mp.Queue(1), mp.Pipe()
    lock.acquire()
    queue.put(1)
    show("lock", lambda: lock.acquire(timeout=NAN))
    show("put", lambda: queue.put(2, timeout=NAN))
    show("poll", lambda: reader.poll(NAN))
    show("event", lambda: mp.Event().wait(NAN))
    show("condition", lambda: wait(mp.Condition()))
    show("barrier", lambda: mp.Barrier(2).wait(NAN))
    show("wait", lambda: multiprocessing.connection.wait([reader], NAN))
    process = mp.Process(target=abs, args=(1,))  # says nothing that could come in between
    process.start()
    show("join", lambda: process.join(NAN))
    process.join()
    for size in (2**62, 2**45, 2**63, -1):
        show("array", lambda size=size: mp.Array("b", size))
    for size in (2**62, 2**63, -1):
        show("block", lambda size=size: shared_memory.SharedMemory(create=True, size=size))
    print(mp.Value("i", 3).value)

# source: Kludex/uvicorn#877, #2679; Pylons/hupper#15: the child re-opens the parent's stdin by its number
import multiprocessing as mp
import os
import sys


def child(fd, q):
    try:
        sys.stdin = os.fdopen(fd)
        q.put(sys.stdin.readline())
    except OSError as e:
        q.put(("OSError", e.errno))


def default(q):
    try:
        q.put(repr(sys.stdin.read()))
    except Exception as e:
        q.put(type(e).__name__)
    try:
        input()
    except EOFError:
        q.put("EOFError")


if __name__ == "__main__":
    for method in ("spawn", "fork", "forkserver"):
        ctx = mp.get_context(method)
        q = ctx.SimpleQueue()
        p = ctx.Process(target=child, args=(sys.stdin.fileno(), q))
        p.start()
        p.join()
        print(method, q.get() if not q.empty() else "nothing", p.exitcode)
        p = ctx.Process(target=default, args=(q,))
        p.start()
        p.join()
        print(method, q.get(), q.get())

import multiprocessing as mp
import os
import sys


def f(x):
    return x * x


def noop():
    pass


if __name__ == "__main__":
    before, then = sys.argv[1:3]
    if before == "pool":
        with mp.Pool(1) as first:
            first.map(f, [3])
    elif before == "joined":
        first = mp.Pool(1)
        first.map(f, [3])
        first.close()
        first.join()
    elif before == "process":
        first = mp.Process(target=noop)
        first.start()
        first.join()
    elif before == "queue":
        first = mp.SimpleQueue()
        first.put(1)
    r, w = os.pipe()
    if os.fork() == 0:
        try:
            if then == "pool":
                with mp.Pool(2) as p:
                    out = p.map(f, range(4))
            elif then == "process":
                q = mp.SimpleQueue()
                p = mp.Process(target=q.put, args=(5,))
                p.start()
                out = q.get()
                p.join()
            elif then == "executor":
                from concurrent.futures import ProcessPoolExecutor

                with ProcessPoolExecutor(2) as ex:
                    out = list(ex.map(f, range(4)))
        except BaseException as e:
            out = f"{type(e).__name__}: {e}"[:70]
        os.write(w, repr(out).encode())
        os._exit(0)
    os.close(w)
    print(os.read(r, 200).decode())

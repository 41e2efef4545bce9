import multiprocessing as mp
import os
import time


def work(q, i):
    q.put(i)
    time.sleep(0.3)
    if i == 1:
        os._exit(1)
    for k in range(100):
        time.sleep(0.05)
        q.put((i, k))


if __name__ == "__main__":
    with mp.Pool(2) as pool:
        before = {p.pid for p in pool._pool}
        with mp.Manager() as m:
            q = m.Queue()
            rs = [pool.apply_async(work, (q, i)) for i in range(2)]
            t = time.time()
            while time.time() - t < 10 and {p.pid for p in pool._pool} == before:
                time.sleep(0.02)
            print("changed", {p.pid for p in pool._pool} != before)
        time.sleep(0.6)
    print("left")

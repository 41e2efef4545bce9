import multiprocessing as mp
import time

import psutil


def stuck():
    time.sleep(60)


def f(x):
    return x + 1


if __name__ == "__main__":
    ps = [mp.Process(target=stuck) for _ in range(2)]
    for p in ps:
        p.start()
    time.sleep(0.5)
    for c in psutil.Process().children(recursive=True):
        c.terminate()
    for p in ps:
        p.join(5)
    print([p.is_alive() for p in ps])
    with mp.Pool(1) as pool:
        print(pool.apply_async(f, (1,)).get(timeout=20))

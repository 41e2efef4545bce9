"""Two threads with a call of joblib's each, of which one fails: neither hangs."""

import threading
import time

from joblib import Parallel, delayed

begun = threading.Event()
results = {}


def slow(i):
    time.sleep(0.2)
    return i


def boom(i):
    raise ValueError("boom")


def run(name, function, number):
    try:
        results[name] = Parallel(n_jobs=2)(delayed(function)(i) for i in range(number))
    except Exception as e:
        results[name] = type(e).__name__, str(e)[:50]


if __name__ == "__main__":
    Parallel(n_jobs=2)(delayed(abs)(i) for i in range(4))
    first = threading.Thread(target=run, args=("first", slow, 20), daemon=True)
    first.start()
    time.sleep(1)
    second = threading.Thread(target=run, args=("second", boom, 2), daemon=True)
    second.start()
    first.join(25)
    second.join(25)
    print(results["second"], first.is_alive(), second.is_alive())

"""loky's executor in joblib's copy: reused, resized, broken, and ended by the line that many use to end joblib's workers."""

import os

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor


def add(x):
    return x + 1


def die():
    os._exit(3)


if __name__ == "__main__":
    print(Parallel(n_jobs=2)(delayed(add)(i) for i in range(3)))
    get_reusable_executor().shutdown(wait=True)
    executor = get_reusable_executor(max_workers=2, timeout=30, initializer=lambda: None, env={"COLOUR": "red"})
    print(list(executor.map(add, range(5))), executor.submit(lambda: os.environ["COLOUR"]).result())
    print(executor.submit(os.getpid).result() != os.getpid())
    try:
        executor.submit(die).result()
    except Exception as e:
        print(type(e).__name__)
    for workers in (3, 1):
        executor = get_reusable_executor(max_workers=workers)
        print(workers, executor.submit(add, 1).result())
    executor.shutdown(wait=True, kill_workers=True)

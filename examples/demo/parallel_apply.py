"""pandarallel over a table of 100,000 rows, as its documentation shows it."""

import hashlib
import math
import os
import sys
import time

import numpy as np
import pandas as pd
from pandarallel import pandarallel

WORKERS = int(sys.argv[1]) if len(sys.argv) > 1 else 4


def row_score(row):
    return math.sin(row.a) ** 2 + math.sin(row.b) ** 2


def group_mean(group):
    return float((group.b * group.a).mean())


def worker_pid(_):
    return os.getpid()


def digest(result):
    return hashlib.sha256(np.ascontiguousarray(result.to_numpy()).tobytes()).hexdigest()[:16]


if __name__ == "__main__":
    pandarallel.initialize(nb_workers=WORKERS, progress_bar=False, verbose=1)
    random = np.random.default_rng(7)
    table = pd.DataFrame({"a": random.integers(1, 300, 100_000), "b": random.random(100_000)})
    begin = time.perf_counter()
    scores = table.parallel_apply(row_score, axis=1)
    means = table.groupby("a").parallel_apply(group_mean)
    print(f"time {time.perf_counter() - begin:.2f} s")
    print("result parallel_apply", len(scores), digest(scores))
    print("result groupby.parallel_apply", len(means), digest(means))
    pids = pd.Series(range(8)).parallel_apply(worker_pid)
    print("main", os.getpid(), "workers", *sorted(set(pids)))

"""A grid search of scikit-learn over the bundled digits, written for plain scikit-learn."""

import os
import sys
import time

from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

WORKERS = int(sys.argv[1]) if len(sys.argv) > 1 else 4


def worker_pid(_):
    time.sleep(0.05)
    return os.getpid()


if __name__ == "__main__":
    X, y = load_digits(return_X_y=True)
    grid = {"C": [0.1, 1, 10, 100], "gamma": [1e-4, 1e-3, 1e-2]}
    begin = time.perf_counter()
    search = GridSearchCV(SVC(), grid, n_jobs=WORKERS, cv=5).fit(X, y)
    print(f"time {time.perf_counter() - begin:.2f} s")
    print("result best", search.best_params_, f"score {search.best_score_:.6f}")
    print("result all", " ".join(f"{score:.6f}" for score in search.cv_results_["mean_test_score"]))
    pids = Parallel(n_jobs=WORKERS)(delayed(worker_pid)(i) for i in range(16))
    print("main", os.getpid(), "workers", *sorted(set(pids)))

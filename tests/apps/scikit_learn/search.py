"""Grid search, randomised search and cross-validation under each of joblib's process backends."""

import numpy as np
from joblib import parallel_backend
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.svm import SVC

X, y = load_iris(return_X_y=True)
X = X + np.random.RandomState(0).normal(scale=1.5, size=X.shape)
GRID = {"C": [0.1, 1, 10], "gamma": [0.01, 0.1, 1]}


def table(search):
    return {key: np.round(value, 12).tolist() for key, value in search.cv_results_.items() if "test_score" in key}


def searches(n_jobs):
    grid = GridSearchCV(SVC(), GRID, cv=4, n_jobs=n_jobs).fit(X, y)
    chosen = RandomizedSearchCV(SVC(), GRID, n_iter=5, cv=3, random_state=1, n_jobs=n_jobs).fit(X, y)
    return table(grid), table(chosen), cross_val_score(SVC(), X, y, cv=6, n_jobs=n_jobs).tolist()


if __name__ == "__main__":
    plain = searches(1)
    print("plain", plain)
    print("default equal", searches(4) == plain)
    for backend in ("loky", "multiprocessing"):
        with parallel_backend(backend, n_jobs=4):
            print(backend, "equal", searches(None) == plain)
    with parallel_backend("loky"):
        print("loky, its own number of jobs, equal", searches(4) == plain)

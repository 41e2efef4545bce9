import multiprocessing as mp
import sys

from joblib import Parallel, delayed

if __name__ == "__main__":
    bad = 0
    for _ in range(10):
        try:
            r = Parallel(n_jobs=2, backend=mp.get_context(sys.argv[1]))(delayed(pow)(i, 2) for i in range(4))
            assert r == [0, 1, 4, 9]
        except Exception as e:
            bad += 1
            last = repr(e)
    print(sys.argv[1], "bad", bad, "of 10", last if bad else "")

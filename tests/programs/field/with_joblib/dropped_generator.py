from math import sqrt
from time import sleep

from joblib import Parallel, delayed

if __name__ == "__main__":
    g = Parallel(2, return_as="generator")(delayed(sleep)(2) for i in range(6))
    try:
        g = Parallel(2, return_as="generator")(delayed(sqrt)(i) for i in range(4))  # drops the first generator
        print("second:", list(g))
    except RuntimeError as e:
        print("second: RuntimeError", str(e)[:60])

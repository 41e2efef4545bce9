import initmod
from joblib import Parallel, delayed

if __name__ == "__main__":
    for be in ("loky", "multiprocessing"):
        print(
            be,
            set(
                Parallel(n_jobs=2, backend=be, initializer=initmod.init, initargs=(7,))(
                    delayed(initmod.get)(i) for i in range(8)
                )
            ),
        )

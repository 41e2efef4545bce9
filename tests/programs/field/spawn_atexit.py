import atexit
import multiprocessing as mp
import os


def bye(path):
    open(path, "w").write("ran")


def child(path):
    atexit.register(bye, path)


if __name__ == "__main__":
    for m in ("fork", "spawn", "forkserver"):
        path = f"atexit-{m}"
        p = mp.get_context(m).Process(target=child, args=(path,))
        p.start()
        p.join()
        print(m, os.path.exists(path))
        os.path.exists(path) and os.unlink(path)
        with mp.get_context(m).Pool(1) as pool:
            pool.apply(child, (path,))
            pool.close()
            pool.join()
        print(m, "pool", os.path.exists(path))
        os.path.exists(path) and os.unlink(path)

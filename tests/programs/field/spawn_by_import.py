"""The child imports `__main__` again, by either import of `mp`."""

import multiprocessing as mp

print("imported as", __name__)


def child():
    print("in the child:", __name__, mp.get_start_method())


if __name__ == "__main__":
    mp.set_start_method("spawn")
    p = mp.Process(target=child)
    p.start()
    p.join()
    print(p.exitcode)

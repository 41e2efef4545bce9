import collections
import multiprocessing as mp
import os


class Odd:
    """Can only be rebuilt in the process that made it, as many handles."""

    def __reduce__(self):
        return rebuild, (os.getpid(),)


def rebuild(pid):
    if pid != os.getpid():
        raise RuntimeError("only in its own process")
    return Odd()


registry = [Odd(), collections.OrderedDict(a=1)]


def work(d):
    print("got", d, flush=True)
    return registry


if __name__ == "__main__":
    mp.set_start_method("fork")
    p = mp.Process(target=work, args=(collections.OrderedDict(b=2),))
    p.start()
    p.join()
    print("exit code", p.exitcode)

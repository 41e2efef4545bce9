"""Objects that stand for others, in the class and the names that they say they have."""

import multiprocessing as mp

import own


class Here(own.Proxy):
    __class__ = property(lambda self: type(self._get()))
    __name__ = property(lambda self: "name of it")


target = {1: 2}
here = Here(lambda: target)


def work():
    print(isinstance(here, dict), here, here.__doc__, here.__name__, len(here), here == {1: 2, 3: 4}, type(here).__name__)
    print(isinstance(own.here, list), own.here, own.here.__doc__, own.here.__name__, own.here == [1, 5])


if __name__ == "__main__":
    mp.set_start_method("fork")
    target[3] = 4
    own.target.append(5)
    p = mp.Process(target=work)
    p.start()
    p.join()
    print(p.exitcode)

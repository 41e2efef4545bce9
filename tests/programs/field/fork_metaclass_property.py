import multiprocessing as mp


class Meta(type):
    @property
    def size(cls):
        return 7


class C(metaclass=Meta):
    size = 1

    def __init__(self, v):
        self.v = v


def work(c):
    return c.v + type(c).size


if __name__ == "__main__":
    with mp.Pool(1) as p:
        print(p.map(work, [C(1)]))

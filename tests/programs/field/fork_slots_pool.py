import multiprocessing as mp


class Slots:
    __slots__ = ("a",)

    def __init__(self, a):
        self.a = a


def echo(x):
    return x


def make(x):
    return Slots(x)


if __name__ == "__main__":
    import sys

    ctx = mp.get_context(sys.argv[1])
    with ctx.Pool(1) as p:
        try:
            print(p.apply_async(make, (4,)).get(timeout=10).a)
            print(p.apply_async(echo, (Slots(4),)).get(timeout=10).a)
        except BaseException as e:
            print(type(e).__name__, e)

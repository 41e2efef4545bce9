import dataclasses
import multiprocessing as mp


class A:
    __slots__ = "one"


class B(A):
    __slots__ = ("two", "__dict__")


@dataclasses.dataclass(slots=True)
class D:
    n: int = 0


class M:
    __slots__ = ("a", "b")

    def __getstate__(self):
        return (self.a,)

    def __setstate__(self, s):
        (self.a,) = s
        self.b = None


class S(str):
    __slots__ = ()


def look(o):
    return hasattr(o, "__dict__")


def extra(o):
    try:
        o.nonsense = 1
        return "set"
    except AttributeError:
        return "AttributeError"


if __name__ == "__main__":
    a = A()
    a.one = 1
    b = B()
    b.one = 1
    b.two = 2
    b.three = 3
    m = M()
    m.a = 5
    with mp.Pool(1) as p:
        for o in (a, b, D(3), m, S("s")):
            print(type(o).__name__, p.apply(look, (o,)), p.apply(extra, (o,)))

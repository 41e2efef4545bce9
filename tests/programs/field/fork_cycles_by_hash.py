"""Sets and dictionaries of objects that refer to each other, and whose hash is made of an attribute."""

import multiprocessing as mp


class Node:
    def __init__(self, name):
        self.name, self.near, self.weights = name, set(), {}

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return self.name == other.name


class Nodes(set):
    pass


a, b, c = Node("a"), Node("b"), Node("c")
for one, other in ((a, b), (b, a), (b, c), (c, c)):
    one.near.add(other)
    one.weights[other] = len(one.near)
c.weights[a] = 7
a.all = Nodes([a, b, c])
unrelated = [1, 2]


def work():
    for one in (a, b, c):
        print(
            one.name, sorted(other.name for other in one.near), sorted((key.name, value) for key, value in one.weights.items())
        )
    print(b in a.near, a in b.near, a.weights[b], next(iter(a.near)) is b, len(a.all), c in a.all, unrelated)


if __name__ == "__main__":
    mp.set_start_method("fork")
    process = mp.Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)

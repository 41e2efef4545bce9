"""Functions of one code are told apart: by where they stand, and by the variables that they have."""

import multiprocessing as mp

import made

outer = made.twice
inner = outer.__wrapped__
keys = {made.price: "price", made.variants[2]: "two", inner: "inner"}
five = made.times(5)(made.price.__wrapped__)
made.f = made.make(2)
made.locked = made.holding(made.threading.RLock())(made.locked)


original = made.Config.__mro__[1]
mine = made.Config()


class Node:
    known, seen = {}, set()

    def __init__(self, name):
        self.name = name

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return self.name == other.name


class Closing(Node):
    known = {}

    def __hash__(self):
        return super().__hash__() + 1

    __eq__ = Node.__eq__


def look(name):
    return {
        "layers": lambda: (outer(), inner(), made.locked(), outer is made.twice, inner is made.COMMANDS["inner"]),
        "registry": lambda: (sorted(made.BY_FUNCTION.values()), made.BY_FUNCTION[outer], made.BY_FUNCTION[inner]),
        "factory": lambda: (made.price(1), made.variants[2](1), made.variants[3](1), five(1), made.f(), made.g()),
        "keys": lambda: (keys[made.price], keys[made.variants[2]], keys[made.COMMANDS["inner"]], len(keys)),
        "methods": lambda: (made.Kinds.static(), made.Kinds.of_class(), made.Kinds().value, made.Kinds.cached(1)),
        "defaults": lambda: (made.Kinds.remembers(), made.Kinds.remembers_too(), made.Kinds().level),
        "attributes": lambda: (made.hooked(), hasattr(made.hooked, "gone")),
        "derived": lambda: (made.Config.values, made.config.get("a"), made.config, isinstance(made.config, original), mine),
        "classes": lambda: (Node.known[Node("a")], Node("b") in Node.seen, Closing.known[Closing("c")]),
    }[name]()


NAMES = ("layers", "registry", "factory", "keys", "methods", "defaults", "attributes", "derived", "classes")


def nested():
    with mp.get_context("fork").Pool(1) as pool:
        print(*pool.map(look, NAMES), sep="\n", flush=True)


if __name__ == "__main__":
    mp.set_start_method("fork")
    made.Kinds.static(), made.Kinds.of_class(), made.Kinds.cached(1).append("kept"), made.Kinds().value  # noqa: B018 - it counts
    made.Kinds.remembers("a"), made.Kinds.remembers_too("b")
    made.Kinds().level = 3
    made.hooked.hook = lambda: "a hook"
    del made.hooked.gone
    made.Config.values["a"] = 1
    Node.known[Node("a")] = 1
    Node.seen.add(Node("b"))
    Closing.known[Closing("c")] = 2
    for target in (look, nested):
        process = mp.Process(target=target, args=("layers",) if target is look else ())
        process.start()
        process.join()
        print(process.exitcode)

"""Objects that keep their own hash are found by equal ones in a forked process, and after a way through a pool."""

import dataclasses
import functools
import multiprocessing as mp


class Key:
    def __init__(self, *parts):
        self.parts = parts
        self._hash = hash(parts)

    def __hash__(self):
        return self._hash

    def __eq__(self, other):
        return self.parts == other.parts


class Slotted:
    __slots__ = ("_hash", "name")

    def __init__(self, name):
        self.name = name

    def __hash__(self):
        if not hasattr(self, "_hash"):
            self._hash = hash(self.name)
        return self._hash

    def __eq__(self, other):
        return self.name == other.name


@dataclasses.dataclass(frozen=True)
class Record:
    name: str

    @functools.cached_property
    def kept(self):
        return hash(self.name)

    def __hash__(self):
        return self.kept


KEY = Key("a", "b")
TABLE = {KEY: 1, Slotted("s"): 2, Record("x"): 3}


def look_up():
    print(TABLE.get(Key("a", "b")), TABLE.get(Slotted("s")), TABLE.get(Record("x")), len({KEY, Key("a", "b")}), flush=True)


def count(key):
    return len({key, Key("a", "b")})


if __name__ == "__main__":
    mp.set_start_method("fork")
    for _ in range(2):
        process = mp.Process(target=look_up)
        process.start()
        process.join()
    with mp.Pool(1) as pool:
        print(pool.map(count, [KEY]), len({KEY, pool.apply(Key, ("a", "b"))}), flush=True)

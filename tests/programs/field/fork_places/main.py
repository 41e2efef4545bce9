"""What a forked process finds at every place of a module of its program; with no name in a function of this one."""

import json
import multiprocessing as mp
import sys
import time
import types

import store

made = types.ModuleType("made")
exec("LEVEL = 1\ndef level(): return LEVEL\nclass Thing:\n    size = 1\n", made.__dict__)
sys.modules["made"] = made


class Closing:
    """As a connection, a file: its end is of its process."""

    def __getstate__(self):
        raise TypeError("cannot be pickled")


def change():
    store.COUNT = 5
    store.TABLE["b"] = 2
    del store.gone
    store.double(1)
    store.collect("parent")
    store.tagged.tag = "set"
    store.kind.register(int, lambda value: "int")
    store.Child.add("child")
    store.Base.level = 7
    store.Base.greet = lambda self: "patched"
    del store.Child.extra
    store.words.put("w", 1)
    made.LEVEL = 9
    made.Thing.size = 3
    real = time.time
    time.time = lambda: -abs(real())
    json.JSONEncoder.default = lambda self, value: f"<{type(value).__name__}>"
    store.closing = Closing()


def look(name):
    module = sys.modules["store"]
    return {
        "globals": lambda: (module.COUNT, module.TABLE, hasattr(module, "gone"), module.is_mark(), module.is_mark(module.MARK)),
        "functions": lambda: (module.double(2), module.collect("child"), module.tagged(), module.kind(1), module.kind("")),
        "classes": lambda: (module.Base.registry, module.Child.level, module.Child().greet(), hasattr(module.Child, "extra")),
        "containers": lambda: (dict(module.words), type(module.words).__name__),
        "made": lambda: (sys.modules["made"].level(), sys.modules["made"].Thing.size),
        "library": lambda: (time.time() < 0, json.dumps([object()])),
        "closing": lambda: type(module.closing).__name__,
    }[name]()


if __name__ == "__main__":
    mp.set_start_method("fork")
    change()
    with mp.Pool(1) as pool:
        for name in ("globals", "functions", "classes", "containers", "made", "library", "closing"):
            print(name, pool.apply(look, (name,)))

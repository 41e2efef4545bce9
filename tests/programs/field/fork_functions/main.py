"""Functions, methods and properties that a module replaces by others of its own file, and variables that functions share."""

import json
import multiprocessing as mp

import made

before = made.plain
json.loads = made.traced(json.loads)


def is_unhashable():
    try:
        hash(made.Thing())
    except TypeError:
        return True
    return False


def look(name):
    thing = made.Thing()
    return {
        "functions": lambda: (made.plain(), before(), made.decorated(), made.recoded(), made.anew(), made.log),
        "same": lambda: (made.plain.__wrapped__ is before, made.other is made.recent.__wrapped__),
        "cached": lambda: (made.cached(), made.cached.cache_info().misses, made.recent()),
        "variables": lambda: (made.count(), made.count.get(), made.put(9), made.get()),
        "methods": lambda: (thing.static(), thing.by_class(), thing.name, thing.made, thing.method(), thing.switched),
        "special": lambda: (len(thing), is_unhashable(), thing.__registry__, thing.__mode__, made.Child.__kinds__),
        "late": lambda: (thing.late, made.managed().__enter__()),
        "library": lambda: (json.loads("[1]"), json.loads.__wrapped__.__name__),
    }[name]()


if __name__ == "__main__":
    mp.set_start_method("fork")
    made.replace()
    for _ in range(2):
        with mp.Pool(1) as pool:
            for name in ("functions", "same", "cached", "variables", "methods", "special", "late", "library"):
                print(name, pool.apply(look, (name,)))
        made.put(11)

"""A dictionary in a manager's process, which all workers share.

    serverless-mp run examples/managed_dictionary.py

Prints:

    {'a': 1, 'b': 2, 'c': 3}
"""

import multiprocessing


def note(found, item):
    key, value = item
    found[key] = value


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        found = manager.dict()
        with multiprocessing.Pool(3) as pool:
            pool.starmap(note, [(found, item) for item in [("a", 1), ("b", 2), ("c", 3)]])
        print(dict(sorted(found.items())))

"""A program with a second thread forks: one list stays one list, in deep structures, and beside what cannot travel."""

import multiprocessing as mp
import threading


class Node:
    def __init__(self, following, tag):
        self.following, self.tag = following, tag


def begun():
    def numbers():
        yield 1
        yield 2

    generator = numbers()
    next(generator)
    return generator


shared, table = [1, 2, 3], {i: [i] for i in range(30)}
first = {"list": shared, "table": table}
unnamed, unusable = list(range(300_000)), [begun(), shared]
chain, nested = None, []
for i in range(4000):
    chain, nested = Node(chain, shared if i % 1000 == 0 else i), [nested, shared, table]
shared.append(shared)
last = {"list": shared, "item": table[3]}


def work(argument):
    node, found, depth = chain, [], 0
    while node:
        found += [node.tag] if type(node.tag) is list else []
        node = node.following
    lists, is_same = nested, True
    while len(lists) == 3:
        is_same = is_same and lists[1] is shared and lists[2] is table
        lists, depth = lists[0], depth + 1
    shared.append(4)
    print(len(found), all(one is shared for one in found), depth, is_same, argument is shared, shared[3] is shared)
    print(first["list"] is shared, last["list"] is shared, last["item"] is table[3], first["table"] is table, len(shared))


if __name__ == "__main__":
    mp.set_start_method("fork")
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    process = mp.Process(target=work, args=(shared,))
    process.start()
    process.join()
    print(process.exitcode)
    stop.set()
    thread.join()

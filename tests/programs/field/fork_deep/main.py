"""Structures that are deeper than the recursion limit (chains, graphs, containers), and what other globals share with them."""

import itertools
import multiprocessing as mp

import store

N = 3000


class Node:
    def __init__(self, name):
        self.name, self.next, self.back, self.kids = name, None, None, []


class Slotted:
    __slots__ = ("name", "next")


class Table(dict):
    pass


def chain():
    nodes = [Node(i) for i in range(N)]
    for one, other in itertools.pairwise(nodes):
        one.next, other.back = other, one
        one.kids.append(other)
    return nodes[0], nodes[-1]


def slotted():
    first = None
    for i in range(N):
        one = Slotted()
        one.name, one.next = i, first
        first = one
    return first


def nested(make, put):
    outer = inner = make()
    for _ in range(N):
        new = make()
        put(inner, new)
        inner = new
    return outer


first, last = chain()
slots = slotted()
dicts = nested(dict, lambda outer, inner: outer.update(x=inner))
lists = nested(list, lambda outer, inner: outer.append(inner))
tables = nested(Table, lambda outer, inner: outer.update(x=inner))
middle = first.next.next
kids = middle.kids
inner_list = lists[0][0]
by_node = {first: "first", last: "last"}
seen = {first, middle}


store.table["first"] = first
store.rows.append(lists)


def length(one, step):
    count = 0
    while one:
        one, count = step(one), count + 1
    return count


def work():
    print(length(first, lambda node: node.next), length(last, lambda node: node.back), length(slots, lambda node: node.next))
    print(length(dicts, lambda one: one.get("x")), length(lists, lambda one: one and one[0]))
    print(length(tables, lambda one: one.get("x")), type(tables["x"]).__name__)
    print(first.next.next is middle, kids is middle.kids, kids[0] is middle.next, lists[0][0] is inner_list)
    print(by_node[first], by_node[last], middle in seen, last in seen, first.next.back is first)
    print(store.table["first"] is first, store.rows[0] is lists, store.names["table"] is store.table, len(store.rows))
    kids.append("new")
    print(middle.kids[-1])


if __name__ == "__main__":
    mp.set_start_method("fork")
    for _ in range(2):
        process = mp.Process(target=work)
        process.start()
        process.join()
        print(process.exitcode)
    last.kids.append(lambda: "a function")
    process = mp.Process(target=length, args=(first, lambda node: node.next))
    process.start()
    process.join()
    print(process.exitcode)

"""Long chains of objects, each a global and an argument, of many lengths: some are too deep only at certain places."""

import multiprocessing


class Node:
    tail = None

    def __init__(self, value, following=None):
        self.value, self.following = value, following


def chain(length):
    head = None
    for i in range(length):
        head = Node(i, head)
    return head


def total(node):
    found = 0
    while node:
        found, node = found + node.value, node.following
    return found


def look(number, node, both):
    print(number, total(node), node is chains[number], both["node"] is node, both["chains"] is chains, flush=True)


chains = {number: chain(number) for number in (1300, 1500, 1600, 3000)}

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    for number, node in chains.items():
        process = context.Process(target=look, args=(number, node, {"node": node, "chains": chains}))
        process.start()
        process.join()
    print(process.exitcode)

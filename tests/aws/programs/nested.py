"""Processes that start processes: children know their parents, and parents see their children's exit codes."""

import multiprocessing
import os


class Leaf:
    def __init__(self, value):
        self.value = value


def inner(queue, depth):
    if depth < 2:
        child = multiprocessing.Process(target=inner, args=(queue, depth + 1))
        child.start()
        child.join()
        queue.put((depth, child.exitcode, multiprocessing.parent_process().is_alive(), os.getcwd() == os.path.realpath(".")))
    queue.put((depth, Leaf(depth).value))


if __name__ == "__main__":
    multiprocessing.set_start_method(os.environ["METHOD"])
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=inner, args=(queue, 0))
    process.start()
    print(sorted(map(repr, (queue.get() for _ in range(5)))))
    process.join()
    print(process.exitcode)

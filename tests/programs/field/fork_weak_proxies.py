"""Weak proxies stand for the same objects in a forked process, also in circles and for objects that can be called."""

import multiprocessing as mp
import weakref


class Tree:
    value = 0

    def __init__(self):
        self.children = []

    def add(self, value):
        child = Tree()
        child.value, child.parent = value, weakref.proxy(self)
        self.children.append(child)
        return child

    def __call__(self):
        return "called"


class App:
    def __init__(self):
        self.provider = Provider(self)
        self.config = 5


class Provider:
    def __init__(self, app):
        self.app = weakref.proxy(app)


root = Tree()
root.value = 100
leaf = root.add(1)
app = App()
alone = weakref.proxy(app)
gone = weakref.proxy(Provider(app))


def look():
    print(root.children[0].parent.value, app.provider.app.config, alone.config)
    root.value, app.config = 7, 6
    print(leaf.parent.value, len(leaf.parent.children), leaf.parent(), app.provider.app.config, alone.config)
    print(type(leaf.parent).__name__, type(alone).__name__, isinstance(alone, App))
    try:
        print(gone.app)
    except ReferenceError as e:
        print(e)


if __name__ == "__main__":
    mp.set_start_method("fork")
    process = mp.Process(target=look)
    process.start()
    process.join()
    print(process.exitcode)

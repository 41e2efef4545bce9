"""What a program sets in functions of a library: registered with them, in their closures, defaults and attributes."""

import multiprocessing as mp
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "site-packages"))

import library


class Point:
    def __init__(self, x):
        self.x = x


@library.describe.register
def _(value: Point):
    return f"a point at {value.x}"


@library.Exporter.export.register
def _(self, value: Point):
    return value.x


library.register("greet", lambda name: f"hello {name}")
library.shout()
library.double(1)
library.Exporter.note("from the program")
library.Exporter.scale.__defaults__ = (3,)
library.Exporter.scale.__kwdefaults__["offset"] = 5
library.title.options["strict"] = True
library.title.short_description = "Title"


def work():
    print(library.describe(Point(2)), library.describe(3), library.describe("x"))
    print(library.Exporter().export(Point(4)), library.Exporter().export(5))
    print(library.handle("greet", "you"))
    print(library.double(2), library.double.calls, library.double.__wrapped__(2))
    print(library.Exporter.note("from the process"), library.Exporter().scale(2))
    print(library.title.options, library.title.short_description, sorted(vars(library.title)))
    library.describe.register(str, lambda value: f"the text {value}")
    print(library.describe("x"), library.describe.dispatch(Point) is not library.describe.dispatch(object))


if __name__ == "__main__":
    for change in (None, lambda: library.shout(False), lambda: setattr(library.title, "late", 1)):
        if change is not None:
            change()
        process = mp.get_context("fork").Process(target=work)
        process.start()
        process.join()
        print(process.exitcode)

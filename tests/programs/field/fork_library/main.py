"""What a program sets in functions of a library: registered with them, in their closures, defaults and attributes."""

import multiprocessing as mp
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "site-packages"))

from unittest import mock

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


library.set_hook(lambda value: value + 100)
library.table["f"] = library.power(3)
library.recent.append("second")
library.raw[0] = ord("R")
library.slotted.level = 2
library.Client.__init__ = mock.MagicMock(return_value=None)
library.collect(1)
next(library.counter)
library.runtime.level = 3
library.types_of_arguments["machine"] = library.Machine


def work():
    print(library.runtime.level, library.running is library.runtime, library.types_of_arguments["machine"] is library.Machine)
    print(library.call_hook(1), library.table["f"](2), list(library.recent), library.raw, library.slotted.level, library.flags)
    print(len(library.Client("no host")), library.collect(2), next(library.counter), library.handle.__name__)
    print(library.describe(Point(2)), library.describe(3), library.describe("x"))
    print(library.Exporter().export(Point(4)), library.Exporter().export(5))
    print(library.handle("greet", "you"))
    print(library.double(2), getattr(library.double, "calls", None))
    print(library.Exporter.note("from the process"), library.Exporter().scale(2))
    print(library.title.options, library.title.short_description, sorted(vars(library.title)))
    library.describe.register(str, lambda value: f"the text {value}")
    print(library.describe("x"), library.describe.dispatch(Point) is not library.describe.dispatch(object))


def rename_a_flag():
    library.flags["new"] = library.flags.pop("old")


if __name__ == "__main__":
    changes = (
        *(None, lambda: library.shout(False), lambda: setattr(library.title, "late", 1), rename_a_flag),
        *(lambda: setattr(library.Client, "__len__", lambda _: 9), lambda: setattr(library, "double", abs)),
        lambda: setattr(library, "handle", lambda *_: "handled"),
    )
    for change in changes:
        if change is not None:
            change()
        process = mp.get_context("fork").Process(target=work)
        process.start()
        process.join()
        print(process.exitcode)

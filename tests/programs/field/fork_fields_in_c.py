"""Exceptions with fields in C; enumerations with combined flags, second names, and functions as values."""

import enum
import multiprocessing as mp


class Color(enum.Flag):
    RED = 1
    GREEN = 2
    YELLOW = 3


class Permission(enum.IntFlag):
    READ = 1
    WRITE = 2
    BOTH = 3


class Name(enum.Enum):
    FIRST = 1
    SECOND = 1  # noqa: PIE796 - a second name


class Operation(enum.Enum):
    ADD = enum.member(lambda one, other: one + other)
    MOST = enum.member(max)

    def __call__(self, *values):
        return self.value(*values)


class Missing(ImportError):
    def __init__(self, package):
        super().__init__("missing", name=package, path="somewhere")
        self.package = package


def raised(work):
    try:
        work()
    except Exception as e:
        return e


errors = [
    ImportError("import", name="name", path="path"),
    Missing("package"),
    raised(lambda: undefined),  # noqa: F821
    raised(lambda: (3).absent),
    raised(lambda: compile("a b", "file.py", "exec")),
    raised(lambda: b"\xff".decode()),
    OSError(2, "none", "file"),
    ExceptionGroup("group", [ImportError("inner", name="inner")]),
]
stop = StopIteration(5)
exit_ = SystemExit(7)


def work():
    print(Color.YELLOW, Color.YELLOW.name, Color(3) is Color.YELLOW, repr(Permission.BOTH), Name.SECOND, Name["SECOND"])
    print(Operation.ADD(1, 2), Operation.MOST(1, 2), [one.name for one in Operation])
    fields = ("name", "path", "lineno", "start", "filename")
    for error in errors:
        print(type(error).__name__, error, [getattr(error, name, None) for name in fields])
    print(errors[-1].exceptions[0].name, stop.value, exit_.code, errors[1].package)


if __name__ == "__main__":
    mp.set_start_method("fork")
    p = mp.Process(target=work)
    p.start()
    p.join()
    print(p.exitcode)

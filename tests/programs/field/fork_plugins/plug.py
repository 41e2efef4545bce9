"""A plug-in: loaded by its file, more than once."""

v = 0
log = []


def f():
    return v, log


class K:
    def m(self):
        return v

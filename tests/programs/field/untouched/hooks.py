"""Objects that tell who looks at them, other than the main module: lazy objects, deprecated names."""

import sys

count = 0


def _look(what):
    caller = sys._getframe(2).f_globals.get("__name__")
    if caller not in {"__main__", "__mp_main__", __name__}:
        print("touched", what, "by", caller, flush=True)
        raise RuntimeError(f"not ready: {what}")


class Slotted:
    """Without a dictionary: only its class knows what it is."""

    __slots__ = ("label",)

    def __getattribute__(self, name):
        _look(name)
        return object.__getattribute__(self, name)


class Lazy:
    """Would make what it stands for when it is asked for its class, its truth, its length or its parts."""

    __class__ = property(lambda self: _look("__class__"))

    def __getattr__(self, name):
        _look(name)
        raise AttributeError(name)

    def __eq__(self, other):
        _look("==")
        return self is other

    def __hash__(self):
        _look("hash")
        return 1

    def __bool__(self):
        _look("bool")
        return True

    def __len__(self):
        _look("len")
        return 3

    def __iter__(self):
        _look("iter")

    def __repr__(self):
        _look("repr")

    def __call__(self):
        _look("call")


class Owner:
    part = Lazy()
    slotted = Slotted()
    made = property(lambda self: _look("property"))


slotted, lazy, owner = Slotted(), Lazy(), Owner()
several = [Lazy(), {"one": Slotted()}]


def with_default(one=lazy):
    return one is lazy

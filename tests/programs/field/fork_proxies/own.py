class Proxy:
    """As werkzeug's."""

    __slots__ = ("_get", "__dict__")

    def __init__(self, get):
        object.__setattr__(self, "_get", get)

    __class__ = property(lambda self: type(self._get()))
    __doc__ = property(lambda self: "doc of the target")
    __name__ = property(lambda self: "name of the target")

    def __getattr__(self, name):
        return getattr(self._get(), name)

    def __eq__(self, other):
        return self._get() == other

    def __hash__(self):
        return hash(self._get())

    def __len__(self):
        return len(self._get())

    def __repr__(self):
        return repr(self._get())


target = [1]
here = Proxy(lambda: target)

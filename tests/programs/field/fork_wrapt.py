"""Functions, methods and objects wrapped by wrapt, and a function of a library that it has replaced."""

import json
import multiprocessing as mp

import wrapt

calls = []


@wrapt.decorator
def noted(wrapped, instance, args, kwargs):
    calls.append(wrapped.__name__)
    return wrapped(*args, **kwargs)


@noted
def double(x):
    return 2 * x if x < 10 else double(x - 10)


class Named:
    @noted
    def name(self):
        return "named"

    @noted
    @classmethod
    def of_class(cls):
        return cls.__name__


class Counted(wrapt.ObjectProxy):
    def __init__(self, wrapped):
        super().__init__(wrapped)
        self._self_count = 3


@wrapt.patch_function_wrapper("json", "dumps")
def dumps(wrapped, instance, args, kwargs):
    return "wrapped " + wrapped(*args, **kwargs)


bound = Named().name
proxy, counted = wrapt.ObjectProxy({"a": 1}), Counted([1, 2])


def work():
    print(double(12), Named().name(), Named.of_class(), bound(), calls)
    print(proxy, proxy["a"], counted, counted._self_count, len(counted), type(counted).__name__, isinstance(counted, list))
    print(json.dumps([1]))


if __name__ == "__main__":
    mp.set_start_method("fork")
    p = mp.Process(target=work)
    p.start()
    p.join()
    print(p.exitcode)

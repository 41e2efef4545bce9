"""Classes that say nothing, or something else than text, of the module they come from; a replaced `time.sleep`."""

import multiprocessing as mp
import time


class Meta(type):
    __module__ = property(lambda cls: "made up")


class ByMeta(metaclass=Meta):
    def __init__(self):
        self.said = "by the class of the class"


class OfObjects:
    @property
    def __module__(self):
        return "of the object"


nameless = type("Nameless", (), {"__module__": None, "said": "nothing"})()
by_meta, of_objects = ByMeta(), OfObjects()
time.sleep = lambda seconds: print("slept", seconds, flush=True)


def work():
    print(nameless.said, by_meta.said, of_objects.__module__, flush=True)
    time.sleep(1)


if __name__ == "__main__":
    mp.set_start_method("fork")
    p = mp.Process(target=work)
    p.start()
    p.join()
    print(p.exitcode)

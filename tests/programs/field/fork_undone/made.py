"""A module of the program whose import registers what the program keeps, or takes back."""

import codecs
import gc
import multiprocessing.util
import os
import sys

log, cache = [], {}


class Finder:
    def __init__(self, name):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name == "nowhere":
            log.append(f"{self.name} was asked")


class Watched:
    pass


def kept(phase, info):
    log.append(f"kept {phase}")


def removed(phase, info):
    log.append("removed")


def search(name):
    return codecs.CodecInfo(lambda text, errors="strict": (b"encoded", len(text)), None, name=name) if name == "mine" else None


finder = Finder("removed")
sys.meta_path[:0] = [Finder("kept"), finder]
gc.callbacks += [kept, removed]
codecs.register(search)
watched = Watched()
multiprocessing.util.register_after_fork(watched, lambda _: log.append("multiprocessing's"))
os.register_at_fork(after_in_child=lambda: log.append("the system's"))

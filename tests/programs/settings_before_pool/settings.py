"""The settings that a command-line program keeps in a module."""

import enum
import multiprocessing

VERBOSE = False
NAMES = []


class Colour(enum.Enum):
    RED = 1


class Reader:
    def __init__(self, names=NAMES):
        self.names = names


TABLE = {}
lock = multiprocessing.Lock()
done = multiprocessing.Value("i", 0)
log_file = open("/dev/null", "w")  # cannot travel: a worker has its own


class Registry:
    def __init__(self):
        self.names = []


registry = Registry()

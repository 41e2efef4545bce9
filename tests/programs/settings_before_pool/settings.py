"""What a command-line program keeps in a module."""

import multiprocessing

VERBOSE = False
TABLE = {}
lock = multiprocessing.Lock()
done = multiprocessing.Value("i", 0)
log_file = open("/dev/null", "w")  # cannot travel: a worker has its own


class Registry:
    def __init__(self):
        self.names = []


registry = Registry()

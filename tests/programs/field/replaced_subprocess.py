"""A library has replaced parts of the module `subprocess`, as gevent does, before the first process."""

import multiprocessing as mp
import subprocess


class Popen:
    def __init__(self, *_):
        raise NotImplementedError


subprocess.Popen = Popen
subprocess._fork_exec = None

if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with mp.get_context(method).Pool(2) as pool:
            print(pool.map(abs, [-1, -2]), flush=True)

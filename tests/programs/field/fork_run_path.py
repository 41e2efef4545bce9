"""A program that another one runs by `runpy.run_path`, under the name that this gives to it."""

import multiprocessing
import runpy
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import multiprocessing

FACTOR = 3


class Scaled:
    factor = None

    def __init__(self, x):
        self.x = x * FACTOR


def scale(x):
    return Scaled(x)


with multiprocessing.get_context("fork").Pool(2) as pool:
    print(__name__, [(one.x, one.factor) for one in pool.map(scale, range(5))])
"""

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scaled.py")
        path.write_text(PROGRAM)
        runpy.run_path(str(path))
        runpy.run_path(str(path), run_name="scaled")
    print(multiprocessing.current_process().name, "scaled" in sys.modules)

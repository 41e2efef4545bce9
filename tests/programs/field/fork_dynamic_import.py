import importlib
import os
import sys

CODE = """
import multiprocessing
K = 1
def k(_): return K
def run():
    global K
    K = 7
    with multiprocessing.get_context("fork").Pool(1) as p:
        return p.map(k, [0])
"""


def main():
    with open("tiny_module.py", "w") as f:
        f.write(CODE)
    sys.path.insert(0, os.getcwd())
    print(importlib.import_module("tiny_module").run())


main()

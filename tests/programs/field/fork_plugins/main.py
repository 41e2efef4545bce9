"""Plug-ins that are loaded by one file, of which `sys.modules` has one, under two names."""

import importlib.util
import multiprocessing as mp
import os
import sys

import plug


def load(name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), "plug.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


one, two = load("plug"), load("plug")
f2 = two.f
one.v, two.v, plug.v = 1, 2, 3
sys.modules["compat"] = sys.modules["further.compat"] = plug
plugins = {"one": one, "two": two}
inst = two.K()


def work():
    print(one.f(), two.f(), plug.f(), f2 is two.f, plugins["one"] is one, inst.m(), type(inst) is two.K)
    import compat

    print(compat is plug, compat.f(), sys.modules["further.compat"] is plug)
    one.v = 11
    two.log.append("x")
    print(one.f(), f2(), one.K().m())


if __name__ == "__main__":
    mp.set_start_method("fork")
    p = mp.Process(target=work)
    p.start()
    p.join()
    print(p.exitcode)

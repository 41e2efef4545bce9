"""The state that reaches a forked worker, beyond the programs in test_field: costs, classification, warnings."""

import gc
import importlib
import os
import types

import pytest

from serverless_mp.fork import collector, places
from serverless_mp.program import modules


def test_installed_files(tmp_path):
    """A file counts as installed by its path or by its real path, since links lead both ways."""
    site, cache, own = tmp_path / "lib" / "site-packages", tmp_path / "cache", tmp_path / "own"
    for folder in (site, cache, own):
        folder.mkdir(parents=True)
        (folder / "module.py").write_text("")
    os.symlink(cache / "module.py", site / "linked.py")
    os.symlink(site / "module.py", own / "installed.py")
    for path, expected in (
        (site / "module.py", True),
        (site / "linked.py", True),
        (own / "installed.py", True),
        (own / "module.py", False),
        (cache / "module.py", False),
    ):
        assert modules.is_installed(str(path)) is expected, path
    assert modules.is_installed(os.__file__) and not modules.is_installed("app.pyz/conf.py")


def test_a_module_made_by_a_library_is_not_the_program_s():
    made = types.ModuleType("_shared_by_extensions")
    made.kind = type(len)
    assert not modules.is_own(made)
    exec("def work(): pass", made.__dict__)
    assert modules.is_own(made)


COUNTED = """
import importlib, multiprocessing, sys
sys.path.insert(0, {folder!r})
for i in range(int(sys.argv[1])): importlib.import_module(f"module{{i}}")
def work(): pass
from serverless_mp.fork.places import Counter
counts = []
for _ in range(3):
    before = Counter.visited
    process = multiprocessing.Process(target=work)
    process.start(); process.join()
    counts.append(Counter.visited - before)
print(*counts[1:])
"""


def test_the_cost_of_a_start_is_linear_in_the_program(run, tmp_path):
    """Counts the objects that are visited at the second and third start of a program with n, 2n and 4n modules."""
    for i in range(80):
        text = "TABLE = {1: [2]}\n\n\nclass Kind:\n    level = 1\n\n\ndef f(x=1):\n    return x\n"
        (tmp_path / f"module{i}.py").write_text(text)
    program = tmp_path / "program.py"
    program.write_text(COUNTED.format(folder=str(tmp_path)))
    one, two, four = ([int(n) for n in run(program, n).stdout.split()] for n in (20, 40, 80))
    assert one[0] == one[1] and two[0] == two[1] and four[0] == four[1]
    assert (four[0] - two[0]) == pytest.approx(2 * (two[0] - one[0]), rel=0.1)


def test_places_of_a_module():
    module = importlib.import_module("json.encoder")
    found = {".".join(path) for path, _ in places.places_of(module)}
    assert {"ESCAPE_DCT", "JSONEncoder.item_separator", "JSONEncoder.default", "py_encode_basestring"} <= found
    assert not any(path.startswith("__") for path in found)


TOLD = """
import multiprocessing, warnings
numbers = (n for n in range(3))
unused = (n for n in range(3))
next(numbers), next(unused)
def work(): next(numbers)
process = multiprocessing.Process(target=work)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    process.start()
process.join()
print(process.exitcode, [(w.category.__name__, "'numbers'" in str(w.message), "unused" in str(w.message)) for w in caught])
process = multiprocessing.Process(target=work)
process.start(); process.join()
"""


def test_globals_that_cannot_travel_are_reported_once(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(TOLD)
    done = run(program)
    assert done.stdout == "1 [('ForkStateWarning', True, False)]\n", done.stderr
    assert "ForkStateWarning" not in done.stderr


ADDRESSES = """
import ctypes, mmap, multiprocessing
import numpy as np

multiprocessing.set_start_method("fork")

class Node(ctypes.Structure):
    pass

Node._fields_ = [("value", ctypes.c_int), ("next", ctypes.POINTER(Node))]
linked, alone = multiprocessing.RawArray(Node, 2), multiprocessing.RawArray(Node, 2)
linked[0].next = ctypes.pointer(linked[1])
mapped = mmap.mmap(-1, 80)
anonymous, view = np.frombuffer(mapped, "f8"), memoryview(mapped)[8:]

def said_of(use):
    try:
        use()
    except RuntimeError as e:
        return str(e).partition(": ")[2].partition(";")[0]

def work():
    alone[1].value = 3
    print(said_of(lambda: linked[0]), said_of(lambda: anonymous[0]), said_of(lambda: view[0]), sep="\\n")

process = multiprocessing.Process(target=work); process.start(); process.join()
print(process.exitcode, alone[1].value)
"""


def test_memory_that_only_this_process_has(run, tmp_path):
    """A worker is told, and does not follow addresses of another process."""
    program = tmp_path / "program.py"
    program.write_text(ADDRESSES)
    done = run(program)
    mapping = "TypeError: cannot pickle 'mmap.mmap' object: a worker does not share the mapping"
    assert done.stdout == f"ValueError: it has an address of this process\n{mapping}\n{mapping}\n0 3\n", done.stderr


def test_a_handler_that_holds_much_is_left_behind(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, os, signal\n"
        "def arm():\n"
        "    state = [{'n': i} for i in range(100_000)]\n"
        "    signal.signal(signal.SIGUSR1, lambda *_: print(len(state)))\n"
        "arm()\n"
        "process = multiprocessing.Process(target=print, args=('runs',))\n"
        "process.start(); process.join(); print(process.exitcode)\n"
        "process = multiprocessing.Process(target=lambda: os.kill(os.getpid(), signal.SIGUSR1))\n"
        "process.start(); process.join(); print(process.exitcode)\n"
    )
    done = run(program)
    assert done.stdout == "runs\n0\n1\n" and "the handler of SIGUSR1 could not travel" in done.stderr


def test_an_older_cloudpickle_is_named_at_the_first_fork(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import cloudpickle, multiprocessing\n"
        "cloudpickle.__version__ = '1.6.0'\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=print, args=('spawned',))\n"
        "    process.start(); process.join()\n"
        "    multiprocessing.get_context('fork').Process(target=print).start()\n"
    )
    done = run(program)
    assert done.stdout == "spawned\n" and "needs cloudpickle 3 or newer, and 1.6.0 is installed" in done.stderr


def test_a_pause_of_the_collector_stays_in_its_process():
    with collector.paused(), collector.paused():
        assert not gc.isenabled()
        assert collector.is_enabled()
        pid = os.fork()
        if pid == 0:
            os._exit(not gc.isenabled())
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert gc.isenabled()
    gc.disable()
    try:
        with collector.paused():
            assert not collector.is_enabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


IMPORTS_MANY = """
import multiprocessing

import many

many.kept.append("by the program")


def look():
    print(sorted(many.kept), flush=True)


if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=look)
    process.start()
    process.join()
"""


def test_what_imports_create_is_kept_for_every_order_of_the_imports(run, tmp_path):
    package, temporary = tmp_path / "site-packages" / "many", tmp_path / "temporary"
    package.mkdir(parents=True)
    temporary.mkdir()
    names = [f"part_{n}" for n in range(20)]
    for name in names:
        (package / f"{name}.py").write_text("order = []\n")
    text = f"import importlib\n\nkept = []\nfor name in set({names!r}):\n    importlib.import_module(f'many.{{name}}')\n"
    (package / "__init__.py").write_text(text)
    (tmp_path / "program.py").write_text(IMPORTS_MANY)
    for seed in "123":
        env = {"PYTHONHASHSEED": seed, "TMPDIR": temporary, "PYTHONPATH": package.parent}
        done = run(tmp_path / "program.py", env=env)
        assert done.stdout == "['by the program']\n", done.stderr
    assert len([*temporary.glob("*/baseline-*")]) == 1

"""Workers start with the packages that the program has imported."""

import sys

import pytest

from places import PROGRAMS

HELPER = "import sys\n\nBEFORE = set(sys.modules)\n"


@pytest.fixture
def program(tmp_path):
    for name, text in (("preloaded.py", (PROGRAMS / "preloaded.py").read_text()), ("helper.py", HELPER)):
        (tmp_path / name).write_text(text)
    return tmp_path / "preloaded.py"


def test_all_but_the_first_worker_have_them(run, program):
    done = run(program, "and another")
    assert done.returncode == 0, done.stderr
    # The first worker comes from the zygote itself. No worker has threads that a library has started.
    first, second, another = done.stdout.splitlines()
    assert first == "parents 2 preloaded 2 random 3 threads {1}"
    assert second == "parents 1 preloaded 3 random 3 threads {1}"
    # A worker with another environment is not preloaded, since the packages have not seen that environment.
    assert another == "preloaded False"


def test_none(run, program):
    done = run(program, env={"SERVERLESS_MP_PRELOAD": "none"})
    assert done.stdout.splitlines() == ["parents 1 preloaded 0 random 3 threads {1}"] * 2


IN_THE_ZYGOTE = "'worker/' + 'preloaded.py' in ''.join(traceback.format_stack())"


@pytest.mark.parametrize(
    ("text", "threads"),
    [
        ("lock = multiprocessing.Lock()", 1),
        ("threading.Thread(target=threading.Event().wait, daemon=True).start()", 2),
        (f"if {IN_THE_ZYGOTE}: os._exit(3)", 1),
        (f"if {IN_THE_ZYGOTE}: raise RuntimeError", 1),
        ("import random\n\ndice = random.Random()", 1),
        ("import dice", 1),
    ],
    ids=["makes a lock", "starts a thread", "ends its process", "raises", "draws", "imports the program's own"],
)
def test_a_package_that_cannot_be_shared_is_imported_by_each_worker(run, program, text, threads):
    package = program.parent / "site-packages" / "loud"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"import multiprocessing, os, threading, traceback\n\n{text}\n")
    for folder in (package.parent, program.parent):
        (folder / "dice.py").write_text("import os\nos.write(1, f'imported {__file__}\\n'.encode())\n")
    program.write_text("import loud\n" + program.read_text())
    done = run(program, env={"SERVERLESS_MP_PRELOAD": "numpy,loud", "PYTHONPATH": package.parent})
    said = [line for line in done.stdout.splitlines() if not line.startswith("imported")]
    assert said == [f"parents 1 preloaded 0 random 3 threads {{{threads}}}"] * 2, done.stderr
    # Each process imports the module beside the program; the preloaded zygote may find the other one.
    imported = {line for line in done.stdout.splitlines() if line.startswith("imported")}
    assert imported <= {f"imported {program.parent / 'dice.py'}"} | {f"imported {package.parent / 'dice.py'}"}


LEAVES_A_THREAD = """
import _thread
import ctypes

is_named, forever = _thread.allocate_lock(), _thread.allocate_lock()


def wait():
    ctypes.CDLL(None).prctl(15, b"jemalloc_bg_thd")
    is_named.release()
    forever.acquire()


is_named.acquire()
forever.acquire()
_thread.start_new_thread(wait, ())
is_named.acquire()
"""


def test_a_thread_that_is_ready_for_forks(run, program):
    """As pyarrow has one, which pandas imports if it is installed."""
    package = program.parent / "site-packages" / "busy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(LEAVES_A_THREAD)
    program.write_text("import busy\n" + program.read_text())
    done = run(program, env={"SERVERLESS_MP_PRELOAD": "numpy,busy", "PYTHONPATH": package.parent})
    first, second = done.stdout.splitlines()
    assert first == "parents 2 preloaded 2 random 3 threads {1}", done.stderr
    assert second == "parents 1 preloaded 3 random 3 threads {1}"
    assert not done.stderr


def run_with(run, folder, name, text, program, *arguments):
    """Runs a program with an installed module of this text, which is to be preloaded."""
    module, path = folder / "site-packages" / f"{name}.py", folder / "program.py"
    module.parent.mkdir()
    module.write_text(text)
    path.write_text(program)
    return run(path, *arguments, env={"SERVERLESS_MP_PRELOAD": name, "PYTHONPATH": module.parent})


KEEPS_MAIN = """
import __main__
import atexit

atexit.register(print, "bye", flush=True)
"""
LOOKS_AT_IT = """
import multiprocessing
import sys

import quiet


def look():
    print(quiet.__main__ is sys.modules["__main__"], flush=True)


if __name__ == "__main__":
    for _ in range(3):
        process = multiprocessing.get_context(sys.argv[1]).Process(target=look)
        process.start()
        process.join()
"""


@pytest.mark.parametrize(("method", "byes"), [("spawn", 4), ("fork", 1 if sys.version_info < (3, 13) else 4)])
def test_main_and_exit_handlers_are_the_worker_s(run, tmp_path, method, byes):
    done = run_with(run, tmp_path, "quiet", KEEPS_MAIN, LOOKS_AT_IT, method)
    said = done.stdout.split()
    assert said.count("bye") == byes, done.stderr
    # A spawned worker sets `__main__` after it has imported the package, except if the package is preloaded.
    assert said.count("True") == (3 if method == "fork" else 2)


WITH_A_FORK = """
import multiprocessing
import os
import signal

import counted


def wait(ready):
    ready.set()
    signal.pause()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    for _ in range(2):
        ready = context.Event()
        process = context.Process(target=wait, args=(ready,))
        process.start()
        ready.wait()
        process.terminate()
        process.join()
        print(process.exitcode)
"""


def test_a_fork_waits_for_them(run, tmp_path):
    done = run_with(run, tmp_path, "counted", "import os\n\nos.write(1, b'imported\\n')\n", WITH_A_FORK)
    # Imported by the program, and once for all its workers.
    assert sorted(done.stdout.split()) == ["-15", "-15", "imported", "imported"], done.stderr


AMONG_OTHERS = """
import multiprocessing
import os
import sys
import threading

import endless


def leave(code):
    sys.exit(code)


def start_others(until, context):
    number = 0
    while not until.is_set():
        os.environ["ROUND"] = str(number)
        number += 1
        process = context.Process(target=leave, args=(0,))
        process.start()
        process.join()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    has_started = threading.Event()
    others = threading.Timer(1, start_others, args=(has_started, context))
    others.start()
    process = context.Process(target=leave, args=(5,))
    process.start()
    has_started.set()
    process.join()
    others.join()
    print(process.exitcode)
"""


def test_a_start_waits_only_a_while_also_among_others(run, tmp_path):
    done = run_with(
        run, tmp_path, "endless", f"import threading, traceback\n\nif {IN_THE_ZYGOTE}: threading.Event().wait()\n", AMONG_OTHERS
    )
    assert done.stdout == "5\n", done.stderr


WIDE = f"""
import os
import random
import traceback

import numpy

STACK = "".join(traceback.format_stack())
WHERE = "zygote" if {IN_THE_ZYGOTE} else "worker" if "fork/" + "restore.py" in STACK else None
if WHERE is not None:
    with open(os.environ["IMPORTED_IN"], "a") as file:
        file.write(f"{{WHERE}}\\n")
STACK = WHERE = None
dice, grains = random.Random(), numpy.random.default_rng()
"""
FORKS_WITH_MANY_MODULES = """
import multiprocessing
import os
from pathlib import Path

import wide

PROGRAM = os.getpid()


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def look():
    of_preloaded = parent_of(os.getppid()) != PROGRAM
    print(of_preloaded, wide.part_7.VALUE, (wide.dice.random(), wide.grains.random()) == FIRST, flush=True)


if __name__ == "__main__":
    states = wide.dice.getstate(), wide.grains.bit_generator.state
    FIRST = wide.dice.random(), wide.grains.random()
    wide.dice.setstate(states[0])
    wide.grains.bit_generator.state = states[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=look) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
"""


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        ("", ["zygote"]),
        (f"if {IN_THE_ZYGOTE}: raise RuntimeError", ["zygote"]),
        (
            f"if {IN_THE_ZYGOTE}: threading.Thread(target=threading.Event().wait, daemon=True).start()",
            ["worker"] * 3 + ["zygote"],
        ),
    ],
    ids=["quiet", "a part raises", "starts a thread"],
)
def test_workers_that_fork_have_other_large_packages(run, tmp_path, text, imports):
    """A package of many modules that the program names, although it is not chosen; if that fails, the chosen ones."""
    package = tmp_path / "site-packages" / "wide"
    package.mkdir(parents=True)
    parts = "".join(f"from . import part_{n}\n" for n in range(50) if n != 7)
    (package / "__init__.py").write_text(WIDE + f"try:\n    from . import part_7\nexcept RuntimeError:\n    pass\n{parts}")
    for n in range(50):
        (package / f"part_{n}.py").write_text("VALUE = 1\n")
    (package / "part_7.py").write_text(f"import threading\nimport traceback\n\n{text}\nVALUE = 7\n")
    path = tmp_path / "program.py"
    path.write_text(FORKS_WITH_MANY_MODULES)
    done = run(path, env={"PYTHONPATH": package.parent, "IMPORTED_IN": tmp_path / "imported"})
    assert done.stdout == "True 7 True\n" * 3, done.stderr
    assert sorted((tmp_path / "imported").read_text().split()) == imports

"""The three entry points: the module, `install()`, and the command."""

import ast
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from places import PROGRAMS


def python(code, **env):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_module_has_cpython_s_names():
    import multiprocessing

    import serverless_mp

    assert set(multiprocessing.__all__) <= set(serverless_mp.__all__)
    for name in multiprocessing.__all__:
        assert hasattr(serverless_mp, name), name
    for info in pkgutil.walk_packages(multiprocessing.__path__, "multiprocessing."):
        if info.name.endswith("_win32"):
            continue
        theirs = importlib.import_module(info.name)
        ours = importlib.import_module(info.name.replace("multiprocessing", "serverless_mp", 1))
        assert [name for name in vars(theirs) if not name.startswith("_") and not hasattr(ours, name)] == [], info.name


def test_importing_it_changes_nothing():
    code = """
        import multiprocessing, time
        before = multiprocessing.Lock, multiprocessing.get_context("spawn")
        import serverless_mp, sys
        assert multiprocessing.Lock == before[0] and multiprocessing.get_context("spawn") is before[1]
        assert "redis" not in sys.modules and "asyncio" not in sys.modules and "ctypes" not in sys.modules
        assert type(serverless_mp.Lock()).__module__ == "serverless_mp.synchronize"
        assert type(multiprocessing.Lock()).__module__ == "multiprocessing.synchronize"
    """
    python(code)


def test_install_and_uninstall():
    code = """
        import multiprocessing, serverless_mp
        theirs = multiprocessing.Lock
        serverless_mp.install()
        serverless_mp.install()
        import multiprocessing.queues, multiprocessing.pool
        assert type(multiprocessing.Lock()).__module__ == "serverless_mp.synchronize"
        assert multiprocessing.queues.Queue.__module__ == "serverless_mp.queues"
        for method in ("fork", "spawn", "forkserver", "serverless"):
            context = multiprocessing.get_context(method)
            assert context.get_start_method() == method
            assert type(context).__name__.lower().startswith(method)
            assert type(context.Lock()).__module__ == "serverless_mp.synchronize"
        multiprocessing.set_start_method("spawn", force=True)
        assert multiprocessing.get_start_method() == "spawn"
        process = multiprocessing.Process(target=print, args=("in a worker",))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert type(process._popen).__module__ == "serverless_mp.local.popen"
        serverless_mp.uninstall()
        assert multiprocessing.Lock == theirs
        assert multiprocessing.get_context("spawn").Process.__module__ == "multiprocessing.context"
    """
    assert python(code) == "in a worker\n"


OF_SUBMODULES = """
import PACKAGE as mp
import PACKAGE.util
from PACKAGE.sharedctypes import Array, RawValue, Value, synchronized

mp.set_start_method("METHOD", force=True)
guarded = synchronized(RawValue("i", 5))


def add(value, array, of_global):
    with of_global.get_lock():
        of_global.value += 1
    value.value += 1
    array[0] += 1
    print(mp.util.get_logger().name, flush=True)


if __name__ == "__main__":
    value, array = Value("i", 1), Array("i", 2)
    for _ in range(2):
        process = mp.Process(target=add, args=(value, array, guarded))
        process.start()
        process.join()
    print(value.value, array[:], guarded.value, process.exitcode)
"""


@pytest.mark.parametrize("package", ["multiprocessing", "serverless_mp"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_submodules_use_the_default_context(package, method, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(OF_SUBMODULES.replace("PACKAGE", package).replace("METHOD", method))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "multiprocessing\nmultiprocessing\n3 [2, 0] 7 0\n", done.stderr


OF_WORKERS = """
import PACKAGE as mp


def leaf(lock, queue):
    with lock:
        queue.put("leaf")


def middle(queue):
    lock = mp.Lock()
    print(mp.get_start_method(), flush=True)
    process = mp.Process(target=leaf, args=(lock, queue))
    process.start()
    process.join()
    print(process.exitcode, flush=True)


if __name__ == "__main__":
    for method in ("spawn", "forkserver", "fork"):
        context = mp.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=middle, args=(queue,))
        process.start()
        process.join()
        print(queue.get(), process.exitcode, flush=True)
"""


@pytest.mark.parametrize("package", ["multiprocessing", "serverless_mp"])
def test_a_worker_has_the_start_method_of_its_context(package, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(OF_WORKERS.replace("PACKAGE", package))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "".join(f"{method}\n0\nleaf 0\n" for method in ("spawn", "forkserver", "fork")), done.stderr


def test_process_pool_executor(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import os
        from concurrent.futures import ProcessPoolExecutor
        from concurrent.futures.process import BrokenProcessPool

        def square(x):
            return x * x

        def die():
            os._exit(3)

        if __name__ == "__main__":
            with ProcessPoolExecutor(2) as executor:
                print(list(executor.map(square, range(5))))
                try:
                    executor.submit(die).result()
                except BrokenProcessPool:
                    print("broken")
    """)
    )
    done = run(program)
    assert done.stdout == "[0, 1, 4, 9, 16]\nbroken\n", done.stderr


def is_running(pid):
    """Whether a process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


PROGRAM = """
import json, sys
print(json.dumps([__name__, __file__, sys.argv, sys.path[0]]))
def target(): print(__name__)
if sys.argv[1] == "exit":
    sys.exit(int(sys.argv[2]))
if sys.argv[1] == "raise":
    raise KeyError("on purpose")
"""


def test_run_is_like_python(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def both(*arguments):
        plain = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, check=False)
        return plain, run(program, *arguments)

    for arguments in (["exit", "0"], ["exit", "5"], ["raise", "--summary", "-m"]):
        plain, ours = both(*arguments)
        assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
        assert ours.stderr == plain.stderr


def test_run_module(run, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys; print(__name__, __package__, sys.argv, sys.path[0])")
    plain = subprocess.run(
        [sys.executable, "-m", "package", "a", "-b"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    ours = run("-m", "package", "a", "-b", cwd=tmp_path)
    assert ours.stdout == plain.stdout, ours.stderr
    assert "No module named absent" in run("-m", "absent").stderr
    assert "'logging' is a package and cannot be directly executed" in run("-m", "logging").stderr
    assert "can't open file" in run("absent.py").stderr


def test_summary(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, sys\n"
        "if __name__ == '__main__':\n"
        "    for code in (0, 3):\n"
        "        p = multiprocessing.Process(target=sys.exit, args=(code,)); p.start(); p.join()\n"
    )
    summary = tmp_path / "summary.json"
    assert run("--summary", summary, program).returncode == 0
    report = json.loads(summary.read_text())
    assert [p["exitcode"] for p in report["processes"]] == [0, 3]
    for process in report["processes"]:
        assert process["launcher"] == "local" and process["host"] and process["store_commands"] > 0
    assert report["store_commands"] > 10 and report["wall_s"] > 0


@pytest.mark.parametrize("where", ["queue", "join", "lock", "pool"])
def test_interrupt_ends_everything(tmp_path, where):
    """Ctrl-C reaches the program's process group, as from a terminal.

    The worker sleeps in short pieces: CPython misses a signal that arrives between its last look and the system call.
    """
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import multiprocessing, os, time

        def work(_=None):
            os.write(1, b"%d\\n" % os.getpid())
            while True:
                time.sleep(0.1)

        if __name__ == "__main__":
            lock, queue = multiprocessing.Lock(), multiprocessing.Queue()
            lock.acquire()
            if "{where}" == "pool":
                multiprocessing.Pool(2).map(work, range(2))
            process = multiprocessing.Process(target=work)
            wait = {{"queue": queue.get, "join": process.join, "lock": lock.acquire}}["{where}"]
            process.start()
            wait()
    """)
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "serverless_mp.cli", "run", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = [int(process.stdout.readline()) for _ in range(2 if where == "pool" else 1)]
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    end = time.monotonic() + 1
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end, "a worker outlives its program"


def test_no_paths_in_dev_shm_for_functions(run, tmp_path):
    """pandarallel passes data to its workers in this directory, if it exists."""
    program = tmp_path / "program.py"
    program.write_text("import os\nprint(os.path.exists(os.environ.get('MEMORY_FS_ROOT', '/dev/shm')))\n")
    assert run(program).stdout == "True\n"
    assert run("--on", "lambda", program).stdout == "False\n"


# What each process sees: whether it can write to the descriptors 1 and 2, and whether `sys.stdout` and `sys.stderr` are None.
# With all three closed, CPython's own pipes get their numbers.
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("redirections", "expected", "interpreters"),
    [
        ("<&-", [True, True, False, False], ["", "-m serverless_mp run"]),
        (">&-", ["OSError", True, True, False], ["", "-m serverless_mp run"]),
        ("2>&-", [True, "OSError", False, True], ["", "-m serverless_mp run"]),
        ("<&- >&- 2>&-", ["OSError", "OSError", True, True], ["-m serverless_mp run"]),
    ],
)
def test_standard_streams_that_are_closed_stay_closed(method, redirections, expected, interpreters, tmp_path):
    for options in interpreters:
        found = tmp_path / "found"
        command = f"{sys.executable} {options} {PROGRAMS}/without_streams.py {method} {found} {redirections}"
        subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
        assert ast.literal_eval(found.read_text()) == [*expected * 3, 0, 0]

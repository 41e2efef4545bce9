"""Environments of a function import a program's packages once; all processes but the first have them."""

from __future__ import annotations

import pytest
from emulator import PROGRAMS
from test_refusals import make_wheel

PROGRAM = PROGRAMS / "preloads.py"
# The package runs the text of a variable, so that one function has many packages.
PACKAGE = """
import os, random, sys, tempfile, threading, traceback

PROCESS = os.readlink("/proc/self")
IS_SHARED = "preloaded_in" + "_function" in "".join(traceback.format_stack())
exec(os.environ.get("COUNTED", ""))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package's directory, which is part of an installation."""
    folder = tmp_path_factory.mktemp("preload") / "site-packages"
    folder.mkdir()
    (folder / "counted.py").write_text(PACKAGE)
    return folder


@pytest.fixture(scope="module")
def deploy(aws, package):
    """Deploys functions with the package, each with one environment, unless another number is given."""

    def make(name, *options, environments=1):
        requirements = package / "requirements.txt"
        requirements.write_text(str(make_wheel(package, "counted", text=PACKAGE)))
        done = aws.deploy(name, "--requirements", requirements, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        aws.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=environments)
        return name

    return make


@pytest.fixture(scope="module")
def single(deploy):
    return deploy("tests-preload", "--timeout", 60)


@pytest.fixture
def run(aws, package):
    """Runs the program and returns its lines."""

    def of(function, *arguments, **variables):
        environment = {"PYTHONPATH": str(package), "SERVERLESS_MP_PRELOAD": "counted", **variables}
        done = aws.run(function, PROGRAM, *arguments, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return of


OWN = "directories True"


def test_all_but_the_first_process_have_them(run, single):
    """Also the first process of a later run. Each has a directory of its own for temporary files."""
    assert run(single, *["look"] * 4) == ["imported 0", *["inherited 0"] * 3, OWN]
    assert run(single, *["look"] * 4) == [*["inherited 0"] * 4, OWN]


def test_processes_of_one_invocation(run, single):
    assert run(single, 4, SERVERLESS_MP_PROCESSES_PER_FUNCTION="4") == ["imported inherited inherited inherited 0 0 0 0", OWN]


def test_none(run, single):
    assert run(single, *["look"] * 3, SERVERLESS_MP_PRELOAD="none") == [*["imported 0"] * 3, OWN]


def test_processes_with_other_variables(run, single):
    """They have other imports. One preloaded zygote takes the place of the other."""
    steps = ["look", "look", "OTHER=1", "look", "look", "look", "OTHER=2", "look", "OTHER=1", "look", "look"]
    said = ["imported", "inherited", "imported", "inherited", "inherited", "imported", "imported", "inherited"]
    assert run(single, *steps) == [*[f"{one} 0" for one in said], OWN]


def test_a_process_that_crashes_leaves_them(run, single):
    assert run(single, "look", "look", "crash", "look") == ["imported 0", "inherited 0", "-9", "inherited 0", OWN]


def test_a_zygote_that_crashes_is_not_replaced(run, single):
    said = run(single, "look", "look", "crash_parent", "look", "look")
    assert said == ["imported 0", "inherited 0", "-9", "imported 0", "imported 0", OWN]


def test_what_a_process_leaves_behind_is_ended(run, single):
    said = run(single, "look", "leave", "lives", "look")
    assert said == ["imported 0", "inherited 0", "gone", "inherited 0", "inherited 0", OWN]


def test_variables_that_an_import_sets(run, single):
    text = "os.environ['SET'] = 'set'"
    assert run(single, *["look"] * 3, COUNTED=text) == ["imported set 0", "inherited set 0", "inherited set 0", OWN]


@pytest.mark.parametrize(
    "text",
    [
        "if IS_SHARED: raise RuntimeError",
        "if IS_SHARED: os._exit(3)",
        "import multiprocessing; LOCK = multiprocessing.Lock()",
        "DICE = random.Random()",
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "PLACES = [{'place': tempfile.gettempdir()}]",
        "HOME = os.path.expanduser('~/settings')",
        "open(os.path.join(tempfile.gettempdir(), 'written'), 'w').close()",
        "sys.path.insert(0, '/opt')",
        "import subprocess; CHILD = IS_SHARED and subprocess.Popen(['sleep', '100'])",
        "import twice",  # a module beside the program
        "from importlib.util import find_spec; find_spec('twice')",
    ],
)
def test_packages_that_cannot_be_shared(run, single, text):
    assert run(single, *["look"] * 3, COUNTED=text) == [*["imported 0"] * 3, OWN]


def test_little_memory(run, deploy):
    """An environment keeps at most a quarter of the function's memory."""
    function = deploy("tests-preload-small", "--timeout", 60, "--memory", 128)
    assert run(function, *["look"] * 3, COUNTED="KEPT = b'x' * (8 << 20)") == ["imported 0", *["inherited 0"] * 2, OWN]
    assert run(function, *["look"] * 3, COUNTED="KEPT = b'x' * (40 << 20)") == [*["imported 0"] * 3, OWN]


@pytest.mark.slow
def test_an_import_that_hangs_is_given_up(run, single):
    assert run(single, *["look"] * 3, COUNTED="if IS_SHARED: threading.Event().wait()") == [*["imported 0"] * 3, OWN]


def test_a_process_of_a_process_has_what_its_parent_has(run, deploy):
    (line, _) = run(deploy("tests-preload-nested", "--timeout", 60, environments=2), "nest")
    one, another, code = line.split()
    assert (one, code) == (another, "0")
    assert one.startswith("preload")


@pytest.mark.slow
def test_the_time_limit_ends_a_process_that_waits_for_them(aws, package, deploy):
    """It has not begun, and its environment goes on."""
    function = deploy("tests-preload-short", "--timeout", 8)
    hangs = "if IS_SHARED: threading.Event().wait()"
    environment = {"PYTHONPATH": str(package), "SERVERLESS_MP_PRELOAD": "counted", "COUNTED": hangs}
    done = aws.run(function, PROGRAM, "look", "look", "COUNTED=", "look", env=environment)
    assert done.stdout.splitlines() == ["imported 0", "124", "imported 0", OWN], done.stderr
    assert "it reached the time limit of function tests-preload-short, 8 s" in done.stderr

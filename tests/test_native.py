"""CPython's own multiprocessing without /dev/shm and without a store, with our semaphores and shared memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from serverless_mp import native

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
WITHOUT = HERE / "without_dev_shm.sh"
METHODS = ["fork", "spawn", "forkserver"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have semaphores without /dev/shm")


def _makes_namespaces():
    return subprocess.run([WITHOUT, "true"], check=False, capture_output=True).returncode == 0


needs_namespace = pytest.mark.skipif(not _makes_namespaces(), reason="this machine makes no namespaces for this user")


@pytest.fixture
def tmp():
    """A directory with a short name, since the path of a manager's socket is limited to 104 bytes."""
    with tempfile.TemporaryDirectory(prefix="n", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def ours(tmp):
    """A function that runs `serverless-mp run --on native` with an empty directory for temporary files."""

    def run(*arguments, before=(), env=None):
        command = [*before, sys.executable, "-m", "serverless_mp.cli", "run", "--on", "native", *arguments]
        env = {**os.environ, "TMPDIR": str(tmp), **(env or {})}
        return subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, check=False, timeout=100)

    return run


def shared_files(tmp):
    return sorted(path.name for path in (tmp / f"serverless-mp-shm-{os.getuid()}").iterdir())


@needs_namespace
@pytest.mark.parametrize("method", METHODS)
def test_as_on_a_machine_that_has_dev_shm(ours, tmp, method):
    plain = [sys.executable, PROGRAMS / "native.py", method]
    theirs = subprocess.run(plain, capture_output=True, text=True, check=True, timeout=100)
    done = ours(PROGRAMS / "native.py", method, before=[WITHOUT])
    assert (done.stdout, done.returncode) == (theirs.stdout, 0), done.stderr
    assert done.stderr == theirs.stderr == ""
    place = tmp / "serverless-mp-shm-0"  # the program is root in its namespace
    assert list(place.iterdir()) == []
    assert place.stat().st_mode & 0o777 == 0o700


@needs_namespace
def test_loky_s_processes(ours):
    code = "import joblib; print(joblib.Parallel(2)(joblib.delayed(divmod)(n, 2) for n in range(4)))"
    done = ours("-c", code, before=[WITHOUT])
    assert (done.stdout, done.stderr) == ("[(0, 0), (0, 1), (1, 0), (1, 1)]\n", "")


MAKES = """
from multiprocessing import resource_tracker, shared_memory
memory = shared_memory.SharedMemory("shared-by-name", create=True, size=10)
memory.buf[:5] = b"hello"
resource_tracker.unregister("/shared-by-name", "shared_memory")
"""
FINDS = """
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory("shared-by-name")
print(bytes(memory.buf[:5]))
memory.unlink()
"""


def test_shared_memory_outlives_its_maker(ours, tmp):
    assert ours("-c", MAKES).returncode == 0
    assert shared_files(tmp) == ["shared-by-name"]
    assert ours("-c", FINDS).stdout == "b'hello'\n"
    assert shared_files(tmp) == []


KILLED = """
import multiprocessing, os, signal
from multiprocessing import resource_tracker, shared_memory
lock = multiprocessing.get_context("spawn").Lock()
memory = shared_memory.SharedMemory(create=True, size=10)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_program_leaves_no_files(tmp):
    command = [sys.executable, "-m", "serverless_mp.cli", "run", "--on", "native", "-c", KILLED]
    env = {**os.environ, "TMPDIR": str(tmp)}
    # `run` returns when the resource tracker has ended, which keeps the pipes open.
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -9
    assert shared_files(tmp) == []


@needs_namespace
def test_more_memory_than_free_space(ours):
    code = "from multiprocessing import shared_memory; shared_memory.SharedMemory('much', create=True, size=64 << 20)"
    done = ours("-c", code, before=[WITHOUT], env={"ROOM": "16m"})
    assert done.returncode == 1
    assert "OSError: [Errno 28] No space left on device" in done.stderr
    again = code.replace("64 <<", "1 <<")
    assert ours("-c", f"{again}; print('made')", before=[WITHOUT], env={"ROOM": "16m"}).stdout == "made\n"


@pytest.mark.parametrize("name", ["/a/b", "..", ".", ""])
def test_invalid_names(ours, name):
    code = f"import _posixshmem, os; _posixshmem.shm_open({name!r}, os.O_CREAT | os.O_RDWR, mode=0o600)"
    done = ours("-c", code)
    assert "OSError: [Errno 22] Invalid argument" in done.stderr


def test_invalid_values(ours):
    code = "import multiprocessing as m, sys; m.Semaphore(int(sys.argv[1]))"
    plain = [sys.executable, "-c", code]
    for value in ("-1", str(1 << 40)):
        theirs = subprocess.run([*plain, value], capture_output=True, text=True, check=False, timeout=60)
        done = ours("-c", code, value)
        kind = theirs.stderr.splitlines()[-1].partition(":")[0]
        assert any(line.startswith(f"{kind}: ") for line in done.stderr.splitlines()), done.stderr


def test_directory_of_somebody_else(ours, tmp):
    place = tmp / f"serverless-mp-shm-{os.getuid()}"
    place.mkdir(mode=0o755)
    done = ours("-c", "print('runs')")
    assert done.returncode == 2
    assert f"{place} is not a directory of this user alone: remove it, or set TMPDIR to another place" in done.stderr


def test_options_of_our_workers(ours):
    for option in ("--workers", "--summary"):
        done = ours(option, "2", "-c", "print('runs')")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{option} is for workers of ours" in done.stderr


def test_other_names(ours):
    done = ours("--as", "multiprocess", "-c", "print('runs')")
    assert (done.returncode, done.stdout) == (2, "")
    assert "serves no other names" in done.stderr


def test_our_own_objects(ours):
    done = ours("-c", "import serverless_mp; serverless_mp.Lock()")
    assert "RuntimeError: SERVERLESS_MP_LAUNCHER=native is for install()" in done.stderr


UNINSTALLS = """
import _multiprocessing, _posixshmem, serverless_mp
from multiprocessing import heap, resource_tracker, synchronize, util

def now():
    names = _multiprocessing.SemLock, _multiprocessing.sem_unlink, _posixshmem.shm_open, heap.Arena, util.spawnv_passfds
    return *names, dict(resource_tracker._CLEANUP_FUNCS)

before = now()
serverless_mp.install()
assert all(one != other for one, other in zip(before, now(), strict=True))
serverless_mp.uninstall()
assert now() == before
"""


def test_uninstall():
    env = {**os.environ, "SERVERLESS_MP_LAUNCHER": "native"}
    subprocess.run([sys.executable, "-c", UNINSTALLS], env=env, check=True, timeout=60)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"SERVERLESS_MP_LAUNCHER": "native"}, True),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}, True),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "SERVERLESS_MP_LAUNCHER": "local"}, False),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "SERVERLESS_MP_REDIS_URL": "redis://store"}, False),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "SERVERLESS_MP_DEPLOYED": "{}"}, False),
    ],
)
def test_where_it_is_the_default(monkeypatch, variables, wanted):
    for name in ("SERVERLESS_MP_LAUNCHER", "SERVERLESS_MP_REDIS_URL", "AWS_LAMBDA_RUNTIME_API", "SERVERLESS_MP_DEPLOYED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert native.is_wanted() is wanted

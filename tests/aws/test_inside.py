"""Inside a plain Lambda function, which has no /dev/shm: CPython's multiprocessing fails there, ours works."""

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

HERE = Path(__file__).parent
INSIDE = PROGRAMS / "inside.py"
NAMES = ["locks", "queues", "pools", "thread_pools", "executors", "pandas_in_parallel"]
RIGHT = """locks taken
queues (3, 3)
pools [0, 1, 4, 9, 16]
thread_pools [0, 1, 4, 9, 16]
executors [0, 1, 4, 9, 16]
pandas_in_parallel [0, 1, 4, 9, 16]
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library to be preloaded: semaphores and shared memory are not implemented."""
    library = tmp_path_factory.mktemp("shim") / "no_shm.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "no_shm.c"], check=True)
    return str(library)


def run(*command, env=None):
    command = list(map(str, command))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env={**os.environ, **(env or {})})


OURS = (sys.executable, "-m", "serverless_mp.cli", "run", INSIDE, *NAMES)


@pytest.mark.skipif(os.getuid() != 0, reason="a mount namespace needs root")
def test_without_dev_shm():
    plain = run(HERE / "no_shm.sh", sys.executable, INSIDE, *NAMES)
    assert plain.stdout == "".join(f"{name} failed with errno 2\n" for name in NAMES)
    ours = run(HERE / "no_shm.sh", *OURS)
    assert ours.stdout == RIGHT, ours.stderr


def test_without_semaphores(shim):
    plain = run(sys.executable, INSIDE, *NAMES, env={"LD_PRELOAD": shim})
    assert plain.stdout == "".join(f"{name} failed with errno 38\n" for name in NAMES)
    ours = run(*OURS, env={"LD_PRELOAD": shim})
    assert ours.stdout == RIGHT, ours.stderr


@pytest.fixture(scope="module")
def packages():
    """What `deploy` would put into a layer, for a custom runtime: ours, and its bootstrap."""
    from serverless_mp.deploy.layer import build
    from serverless_mp.deploy.settings import Settings

    settings = Settings(runtime="provided.al2023", interpreter=INTERPRETER, wheel=wheel(), glibc=(2, 36))
    return build(settings, lambda _: None).files


def answer(aws, files, environment):
    """Of a function whose own handler uses multiprocessing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, (data, executable) in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o755 if executable else 0o644) << 16
            archive.writestr(info, data)
    client = aws.client("lambda")
    client.create_function(
        FunctionName="tests-inside", Runtime="provided.al2023", Role="arn:aws:iam::000000000000:role/any", Timeout=60,
        Handler="inside.handler", Code={"ZipFile": buffer.getvalue()}, Environment={"Variables": environment},
    )  # fmt: skip
    try:
        reply = client.invoke(FunctionName="tests-inside", Payload=json.dumps({"names": NAMES[:5]}).encode())
        return json.loads(reply["Payload"].read())
    finally:
        client.delete_function(FunctionName="tests-inside")


def test_wrapper_needs_no_change_of_code(aws, packages):
    files = packages | {"inside.py": (INSIDE.read_bytes(), False)}
    plain = answer(aws, files, {})
    assert plain == dict.fromkeys(NAMES[:5], "errno 2")  # 38 where the C library is older
    wrapped = answer(aws, files, {"AWS_LAMBDA_EXEC_WRAPPER": "./serverless-mp"})
    squares = [0, 1, 4, 9, 16]
    assert wrapped == {"locks": "taken", "queues": [3, 3], "pools": squares, "thread_pools": squares, "executors": squares}


def test_install_in_the_handler(aws, packages):
    source = b"import serverless_mp\n\nserverless_mp.install()\n" + INSIDE.read_bytes().partition(b'"""\n')[2]
    installed = answer(aws, packages | {"inside.py": (source, False)}, {})
    assert installed["locks"] == "taken"
    assert installed["executors"] == [0, 1, 4, 9, 16]

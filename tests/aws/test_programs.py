"""Programs on the emulator print what they print on CPython."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from emulator import PROGRAMS, ROOT


def python(*arguments, **options):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=True, timeout=100, **options
    )
    return done.stdout


def ours(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_modules_of_the_program(aws, function, method, monkeypatch):
    monkeypatch.setenv("METHOD", method)
    program = PROGRAMS / "modules" / "main.py"
    assert ours(aws.run(function, program)) == python(program)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_of_processes(aws, custom, method, monkeypatch):
    monkeypatch.setenv("METHOD", method)
    assert ours(aws.run(custom, PROGRAMS / "nested.py")) == python(PROGRAMS / "nested.py")


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_shared_memory(aws, function, method):
    program = PROGRAMS / "memory.py"
    assert ours(aws.run(function, program, method)) == python(program, method)


def test_without_a_guard(aws, function):
    program = PROGRAMS / "no_guard.py"
    assert ours(aws.run(function, program)) == python(program)


@pytest.mark.timeout(300)
def test_32_at_once(aws, function):
    done = aws.run(function, PROGRAMS / "many.py", 32, timeout=250)
    assert ours(done) == python(PROGRAMS / "many.py", 32), done.stderr
    assert f"32 processes in 32 invocations of {function}" in done.stderr


def test_packed(aws, function):
    done = aws.run(function, PROGRAMS / "many.py", 12, env={"SERVERLESS_MP_PROCESSES_PER_FUNCTION": "4"})
    assert ours(done) == python(PROGRAMS / "many.py", 12)
    invocations = int(re.search(r"12 processes in (\d+) invocations", done.stderr)[1])
    assert 3 <= invocations < 12  # 3, unless this machine is slow between two starts


def test_packed_although_each_start_takes_long(aws, custom):
    done = aws.run(custom, PROGRAMS / "slow_starts.py", 8, env={"SERVERLESS_MP_PROCESSES_PER_FUNCTION": "4"})
    assert ours(done) == python(PROGRAMS / "slow_starts.py", 8)
    assert f"8 processes in 2 invocations of {custom}" in done.stderr


@pytest.fixture(scope="module")
def throttled(aws):
    """A function with a concurrency of two."""
    done = aws.deploy("tests-throttled", "--timeout", 60)
    assert done.returncode == 0, done.stderr
    aws.client("lambda").put_function_concurrency(FunctionName="tests-throttled", ReservedConcurrentExecutions=2)
    return "tests-throttled"


def test_throttled(aws, throttled):
    done = aws.run(throttled, PROGRAMS / "many.py", 6)
    assert ours(done) == python(PROGRAMS / "many.py", 6)
    assert done.stderr.count("\n") == 1, done.stderr  # only the bill, and no warning


def test_more_processes_than_run_at_once_each_longer_than_the_start_timeout(aws, throttled):
    """While some run, the others wait for their turn; refused attempts do not count as invocations."""
    done = aws.run(throttled, PROGRAMS / "longer.py", 8, 4, env={"SERVERLESS_MP_START_TIMEOUT": "2"})
    assert ours(done) == f"{[0] * 8}\n{list(range(8, 0, -1))}\n"
    told = [line for line in done.stderr.splitlines() if "wait for their turn" in line]
    assert len(told) == 1 and "TooManyRequestsException" in told[0] and "Service Quotas" in told[0]
    processes, invocations = map(int, re.search(r"(\d+) processes in (\d+) invocations", done.stderr).groups())
    assert 9 <= processes == invocations <= 16  # an executor starts as many workers as it needs


def test_ends_of_processes_of_processes(aws, custom):
    assert ours(aws.run(custom, PROGRAMS / "deep_failures.py")) == python(PROGRAMS / "deep_failures.py")


def test_process_of_a_process_without_free_concurrency(aws, throttled):
    """The program tries to launch it, and reports why it could not."""
    client = aws.client("lambda")
    client.put_function_concurrency(FunctionName=throttled, ReservedConcurrentExecutions=1)
    try:
        done = aws.run(throttled, PROGRAMS / "deep_failures.py", env={"SERVERLESS_MP_STALL_TIMEOUT": "3"})
    finally:
        client.put_function_concurrency(FunctionName=throttled, ReservedConcurrentExecutions=2)
    assert ours(done).startswith("[69, 69, "), done.stderr
    assert "no process has begun or ended for 3 s" in done.stderr


def test_processes_that_wait_for_one_that_cannot_begin(aws, throttled):
    done = aws.run(throttled, PROGRAMS / "together.py", 4, env={"SERVERLESS_MP_STALL_TIMEOUT": "5"})
    # The last one may get its turn after the others have ended.
    assert ours(done) in ("[1, 1, 69, 69]\n", "[1, 1, 1, 69]\n")
    assert "no process has begun or ended for 5 s: those that run may wait for this one" in done.stderr


def test_the_bill_is_lambda_s_own(aws):
    assert aws.deploy("tests-bill", "--timeout", 60).returncode == 0
    done = aws.run("tests-bill", PROGRAMS / "longer.py", 2, 1)
    log = aws.command("logs", "--function", "tests-bill").stdout
    billed = sum(map(int, re.findall(r"REPORT .*\tBilled Duration: (\d+) ms", log)))
    assert f" (1769 MB): {billed / 1000 * 1769 / 1024:.2f} GB-s" in done.stderr
    assert billed > 2000


def test_output_while_it_runs(aws, function):
    with aws.popen(function, PROGRAMS / "talk.py") as program:
        for n in range(3):
            assert program.stdout.readline() == f"out {n}\n"
            assert program.stderr.readline() == f"err {n}\n"
            program.stdin.write("go on\n")
            program.stdin.flush()
        assert program.stdout.read() == "no newline code 0\n"
        assert program.wait(30) == 0


def test_much_output_comes_in_order_and_before_the_end(aws, custom):
    assert ours(aws.run(custom, PROGRAMS / "flood.py")) == python(PROGRAMS / "flood.py")


def test_script_beside_the_packages_that_it_imports(aws, custom, tmp_path, monkeypatch):
    """One directory of the program is inside another; the function searches both, as this machine does."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("def double(n):\n    return 2 * n\n")
    (tmp_path / "scripts" / "beside.py").write_text("ONE = 1\n")
    program = tmp_path / "scripts" / "main.py"
    program.write_text(
        "import multiprocessing\n"
        "import beside, package\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.Pool(2) as pool:\n"
        "        print(pool.map(package.double, range(4)), beside.ONE)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ours(aws.run(custom, program)) == python(program)


def test_pool_under_kills(aws, custom):
    assert ours(aws.run(custom, PROGRAMS / "kills.py")) == "right True\nbegun at most twice 2 again True\n"


def test_pool_longer_than_the_time_limit(aws):
    done = aws.deploy("tests-short", "--timeout", 4)
    assert done.returncode == 0, done.stderr
    done = aws.run("tests-short", PROGRAMS / "retires.py")
    assert ours(done) == "right True\nreplaced True\n"
    assert "time limit" not in done.stderr


def test_large_argument_is_stored_once(aws, custom, tmp_path):
    summary = tmp_path / "summary.json"
    command = ["run", "--on", "lambda", "--function", custom, "--summary", summary, PROGRAMS / "fan_out.py"]
    assert ours(aws.command(*command)) == python(PROGRAMS / "fan_out.py")
    size = 256 * 20_000
    report = json.loads(summary.read_text())
    assert size < report["main"]["store_bytes"] < 1.2 * size
    found = aws.front.environments.temporary("serverless_mp-*/h*")
    assert len({path.name for path in found}) == 1 <= len(found)  # once in each environment


def test_large_argument_through_a_bucket(aws, custom, tmp_path):
    aws.client("s3").create_bucket(Bucket="tests-arguments", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    env = {"SERVERLESS_MP_BUCKET": "tests-arguments", "SERVERLESS_MP_S3_ARGUMENT": "1000000"}
    summary = tmp_path / "summary.json"
    for kept in aws.front.environments.temporary("serverless_mp-*/h*"):
        kept.unlink()
    command = ["run", "--on", "lambda", "--function", custom, "--summary", summary, PROGRAMS / "fan_out.py"]
    assert ours(aws.command(*command, env=env)) == python(PROGRAMS / "fan_out.py")
    assert json.loads(summary.read_text())["main"]["store_bytes"] < 200_000
    assert aws.client("s3").list_objects_v2(Bucket="tests-arguments")["KeyCount"] == 0  # nothing is left


def test_manager_beside_the_program(aws, custom):
    assert ours(aws.run(custom, PROGRAMS / "manager.py")) == "ids [True, True]\nserver here True\n"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["managed", "custom"])
def test_demo(aws, kind, tmp_path):
    """scikit-learn and pandarallel run with 4 workers; their packages are in a layer, or in the function."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("scikit-learn\npandas\npandarallel\n")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=f"tests-{kind}", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    options = ("--requirements", requirements, "--strip-tests", "--bucket", f"tests-{kind}")
    done = aws.deploy(f"tests-demo-{kind}", *options, kind=kind, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("grid_search.py", "parallel_apply.py"):
        program = ROOT / "examples" / "demo" / name
        lines = ours(aws.run(f"tests-demo-{kind}", program, 4, timeout=300)).splitlines()
        plain = python(program, 4).splitlines()
        assert [line for line in lines if line.startswith("result")] == [line for line in plain if line.startswith("result")]
        workers = next(line for line in lines if line.startswith("main")).partition("workers ")[2].split()
        assert all(int(pid) > 2**22 for pid in workers)

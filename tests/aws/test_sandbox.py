"""The sandbox is like Lambda's, and processes find in it what programs expect."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import zipfile
from pathlib import Path

import pytest
from emulator import PROGRAMS

PROGRAM = PROGRAMS / "sandbox.py"
FACTS = """
import os, resource
def handler(event, context):
    def writable(path):
        try:
            open(os.path.join(path, "x"), "w").close()
        except OSError:
            return False
        return True
    places = ["/", "/etc", "/opt", "/tmp", "/usr", "/var/lang", "/var/runtime", "/var/task"]
    disk = os.statvfs("/tmp")
    return {
        "user": [os.getuid(), os.getgid(), "HOME" in os.environ],
        "writable": [place for place in places if writable(place)],
        "devices": sorted(os.listdir("/dev")),
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "disk": disk.f_blocks * disk.f_frsize >> 20,
    }
"""


def test_it_is_as_lambda_s(aws):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("facts.py", FACTS)
    client = aws.client("lambda")
    client.create_function(
        FunctionName="tests-facts", Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}", Timeout=10,
        Role="arn:aws:iam::000000000000:role/any", Handler="facts.handler", Code={"ZipFile": buffer.getvalue()},
    )  # fmt: skip
    try:
        found = json.loads(client.invoke(FunctionName="tests-facts", Payload=b"{}")["Payload"].read())
    finally:
        client.delete_function(FunctionName="tests-facts")
    assert found == {
        "user": [993, 990, False],
        "writable": ["/tmp"],
        "devices": ["fd", "full", "null", "random", "stderr", "stdout", "urandom", "zero"],
        "descriptors": 1024,
        "disk": 512,
    }


@pytest.fixture(scope="module")
def with_six(aws, tmp_path_factory):
    """A managed function whose layer has a package that the runtime has too."""
    requirements = tmp_path_factory.mktemp("six") / "requirements.txt"
    requirements.write_text("six\n")
    done = aws.deploy("tests-six", "--timeout", 60, "--requirements", requirements, kind="managed")
    assert done.returncode == 0, done.stdout + done.stderr
    return "tests-six"


def answers(aws, function, *questions, **options):
    done = aws.run(function, PROGRAM, *questions, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_packages_of_the_layer_come_before_those_of_the_runtime(aws, with_six):
    assert answers(aws, with_six, "search_path") == ["['/var/task', '/opt/python', '/var/runtime'] /opt/python"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", ":Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"])
def test_time_zone(aws, custom, zone):
    """The function has no time zone rules: they come with the program, or are part of the name."""
    assert answers(aws, custom, "zone", env={"TZ": zone}) == ["['23 CET', '11 CEST']"]


def test_environment(aws, custom):
    """A process has the function's environment and the program's own variables, and no values of an earlier run."""
    for value in ("one", "two"):
        found = answers(aws, custom, "environment", env={"OF_THE_PROGRAM": value})
        assert found == [f"['tests-custom', '{value}', True]"]


def test_a_process_has_a_home_and_a_temporary_directory_which_is_deleted_with_it(aws, function):
    assert answers(aws, function, "home") == ["True"]


def test_a_process_leaves_no_process_behind(aws, custom):
    """Even a process in a session of its own is ended."""
    assert answers(aws, custom, "orphan") == ["False"]


def test_a_warm_environment_is_not_filled(aws, custom):
    """Four processes, one after the other, write 300 MB each to a /tmp of 512 MB."""
    assert answers(aws, custom, "fill") == [" ".join([str(300 << 20)] * 4)]


def test_files_beside_the_own_directory_of_a_process_are_deleted_when_the_disk_is_nearly_full(aws, custom):
    assert answers(aws, custom, "litter") == [" ".join([str(200 << 20)] * 5)]


def test_old_bundles_are_deleted_when_unused(aws, tmp_path):
    """Each program has a bundle of its own, and together the bundles do not fit into /tmp."""
    assert aws.deploy("tests-bundles", "--timeout", 60).returncode == 0
    for number in range(16):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "data.bin").write_bytes(bytes([number]) * (45 << 20))
        (folder / "main.py").write_text(PROGRAM.read_text())
        done = aws.run("tests-bundles", folder / "main.py", "lives")
        assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    locks = aws.front.environments.temporary("serverless_mp-*/code*.lock")
    assert sum(lock.with_suffix("").exists() for lock in locks) < len(locks)


def test_code_that_changes_between_runs(aws, custom, tmp_path):
    """A warm environment has the code of the current run, not of an earlier one."""
    program, module = tmp_path / "main.py", tmp_path / "answer.py"
    program.write_text(
        "import multiprocessing, answer\n"
        "def tell(queue): queue.put(answer.VALUE)\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    queue = multiprocessing.Queue()\n"
        "    multiprocessing.Process(target=tell, args=(queue,)).start()\n"
        "    print(queue.get())\n"
    )
    for value in ("first", "second", "first"):
        module.write_text(f"VALUE = {value!r}\n")
        done = aws.run(custom, program)
        assert (done.returncode, done.stdout) == (0, f"{value}\n"), done.stderr


def test_what_travels(aws, custom, tmp_path):
    """Undecodable names and links within the directory travel; links out of it and secrets do not, which is reported."""
    (tmp_path / "elsewhere").write_text("not the program's")
    folder = tmp_path / "program"
    (folder / "data").mkdir(parents=True)
    program = folder / "main.py"
    program.write_text(
        "import multiprocessing, os\n"
        "def tell(queue):\n"
        "    here = os.path.dirname(os.path.abspath(__file__))\n"
        "    queue.put(sorted(os.path.relpath(os.path.join(place, name), here) for place, _, names in os.walk(here) for name in names\n"
        "                     if not name.endswith('.pyc')))\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    queue = multiprocessing.Queue()\n"
        "    multiprocessing.Process(target=tell, args=(queue,)).start()\n"
        "    print(ascii(queue.get()))\n"
    )
    (folder / "data" / "a").write_text("a")
    (folder / "linked").symlink_to("data")
    (folder / "outside").symlink_to("../elsewhere")
    (folder / "prod.env").write_text("PASSWORD=x")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).write_text("name")
    done = aws.run(custom, program)
    assert done.stdout == "['caf\\udce9', 'data/a', 'linked/a', 'main.py']\n", done.stderr
    outside = f"{folder}/outside (a link to {tmp_path}/elsewhere, outside of the program's directory)"
    assert f"left out of what travels to workers: {outside}; {folder}/prod.env (a secret, by its name). " in done.stderr
    listed = aws.command("run", "--dry-run", program).stdout.splitlines()
    assert listed[:4] == [f"{folder}/{name}" for name in ("caf\\udce9", "data/a", "linked/a", "main.py")]
    assert f"left out: {outside}" in listed


def test_two_programs_on_one_function(aws, custom):
    """Both run at the same time, and neither sees the other's environment."""
    programs = [aws.popen(custom, PROGRAM, "environment", env={"OF_THE_PROGRAM": name}) for name in ("one", "two")]
    for program, name in zip(programs, ("one", "two"), strict=True):
        out, err = program.communicate(timeout=100)
        assert (program.returncode, out) == (0, f"['tests-custom', '{name}', True]\n"), err


def test_frozen_for_longer_than_a_supervisor_s_lease(aws, custom):
    with aws.popen(custom, PROGRAMS / "twice.py") as program:
        assert program.stdout.readline() == "code 0\n"
        time.sleep(15)  # meanwhile the environment is frozen and the lease ends
        program.stdin.write("again\n")
        program.stdin.close()
        assert program.stdout.readline() == "code 0\n"


MEMORY = Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="limits of memory need root and a memory cgroup")
def test_process_that_runs_out_of_memory(aws):
    """The kernel kills the process, and the message says why. The function's processes get their memory limit once they run."""
    assert aws.deploy("tests-memory", "--timeout", 60, "--memory", 256).returncode == 0
    group = MEMORY / f"serverless-mp-{os.getpid()}"
    group.mkdir()
    try:
        with aws.popen("tests-memory", PROGRAMS / "eats.py") as program:
            assert program.stdout.readline() == "ready\n"
            (group / "memory.limit_in_bytes").write_text(str(256 << 20))
            for pid in aws.front.environments.pids():
                with contextlib.suppress(ProcessLookupError):
                    (group / "cgroup.procs").write_text(str(pid))
            out, err = program.communicate("go on\n", timeout=60)
        assert out == "-9\n", err
        assert "function tests-memory ran out of memory, 256 MB; raise it (`serverless-mp deploy --memory`)" in err
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (MEMORY / "cgroup.procs").write_text(pid)
        group.rmdir()

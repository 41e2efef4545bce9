"""The command line: forms of programs, options, and messages about unusable settings."""

import os
import re
import subprocess
import sys

import pytest

import stores


def test_forms_of_a_program(run):
    code = "import multiprocessing, sys; print(multiprocessing.cpu_count(), sys.argv, __name__)"
    assert run("--workers", 7, "-c", code, "a", "b").stdout == "7 ['-c', 'a', 'b'] __main__\n"
    assert run("--workers", 7, "-", "a", input=code).stdout == "7 ['-', 'a'] __main__\n"


def test_a_pool_in_a_program_without_a_file(run):
    code = "import multiprocessing\nwith multiprocessing.Pool(1) as pool: print(pool.map(lambda_, [1]))"
    done = run("-c", f"def lambda_(x): return x + 1\n{code}")
    assert done.stdout == "[2]\n", done.stderr


@pytest.mark.parametrize("command", [["-m", "serverless_mp"], ["-m", "serverless_mp.cli"]])
def test_version(command):
    done = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("serverless-mp 0.")


@pytest.mark.parametrize("command", ["run", "deploy", "destroy", "status", "doctor", "logs"])
def test_help_needs_no_other_package(command):
    code = (
        "import sys\nfor name in ('boto3', 'botocore', 'rich'): sys.modules[name] = None\n"
        f"from serverless_mp.cli import main\nmain(['{command}', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "usage: serverless-mp" in done.stdout, done.stderr


def test_unusable_settings_are_reported(run):
    code = "import multiprocessing; multiprocessing.Lock()"
    done = run("-c", code, env={"SERVERLESS_MP_WORKES": "3"})
    assert done.stderr == "serverless_mp: SERVERLESS_MP_WORKES is no setting: SERVERLESS_MP_WORKERS is\n"
    done = run("-c", code, env={"SERVERLESS_MP_TASK_ATTEMPTS": "10"})
    assert "SERVERLESS_MP_TASK_ATTEMPTS is '10'; it must be a whole number from 1 to 9" in done.stderr


def test_a_summary_that_cannot_be_written(run, tmp_path):
    done = run("--summary", tmp_path / "none" / "summary.json", "-c", "print('began')")
    assert done.stdout == "" and "the summary cannot be written to" in done.stderr


def test_a_store_without_tls(run, tmp_path):
    with stores.server(tmp_path / "server") as port:
        url = f"rediss://:{stores.QUOTED}@127.0.0.1:{port}"
        done = run("-c", "print('began')", env={"SERVERLESS_MP_REDIS_URL": url})
    assert done.stdout == "" and "no TLS is spoken there" in done.stderr and "redis://" in done.stderr


def test_a_temporary_directory_of_any_name(run, tmp_path):
    folder = tmp_path / "a b'\"c"
    folder.mkdir()
    done = run("-c", "import multiprocessing; print(multiprocessing.Value('i', 3).value)", env={"TMPDIR": str(folder)})
    assert done.stdout == "3\n", done.stderr


def test_names_with_dots(run):
    code = "import lithops.multiprocessing as mp\nwith mp.Pool(1) as pool: print(pool.map(abs, [-1]))"
    assert run("--as", "lithops.multiprocessing", "-c", code).stdout == "[1]\n"


def test_no_resource_warnings():
    code = (
        "import multiprocessing as mp\n"
        "with mp.Pool(1) as pool: pool.map(abs, [1])\n"
        "queue = mp.Queue(); queue.put(1); queue.get()\n"
        "process = mp.Process(target=print); process.start(); process.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "serverless_mp", "run", "-c", code], capture_output=True, text=True, check=True
    )
    assert "Warning" not in done.stderr


def doctor(**env):
    clean = {name: value for name, value in os.environ.items() if name != "SERVERLESS_MP_REDIS_URL"}
    command = [sys.executable, "-m", "serverless_mp.cli", "doctor", "--local"]
    return subprocess.run(command, env=clean | env, capture_output=True, text=True, check=False, timeout=60)


def test_doctor_without_an_account(tmp_path):
    done = doctor()
    assert done.returncode == 0
    assert "\nok   store: a private one, " in done.stdout
    assert re.search(r"^(ok   shared memory here: written pages|note shared memory here: each release) ", done.stdout, re.M)
    with stores.server(tmp_path) as port:
        url = f"redis://:{stores.QUOTED}@127.0.0.1:{port}/0"
        done = doctor(SERVERLESS_MP_REDIS_URL=url, SERVERLESS_MP_WORKRES="3")
        assert done.returncode == 0
        assert re.search(
            rf"ok   store redis://127.0.0.1:{port}/0 from here: (Redis|Valkey) [\d.]+, no TLS, [\d.]+ ms", done.stdout
        )
        assert "note SERVERLESS_MP_WORKRES is no setting: SERVERLESS_MP_WORKERS is" in done.stdout
    done = doctor(SERVERLESS_MP_REDIS_URL=url)
    assert done.returncode == 1
    assert f"BAD  store redis://127.0.0.1:{port}/0 from here: cannot reach" in done.stdout
    assert stores.PASSWORD not in done.stdout + done.stderr
    done = doctor(SERVERLESS_MP_WORKERS="many")
    assert done.returncode == 1 and "BAD  SERVERLESS_MP_WORKERS is 'many'" in done.stdout


def test_doctor_reports_a_store_that_evicts(tmp_path):
    with stores.server(tmp_path, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb") as port:
        done = doctor(SERVERLESS_MP_REDIS_URL=f"redis://:{stores.QUOTED}@127.0.0.1:{port}/0")
    assert done.returncode == 1
    assert "BAD  store: maxmemory-policy allkeys-lru throws locks and queues away" in done.stdout


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_log_that_nobody_reads(is_closed):
    """Standard error is full, or its reader has gone. The program runs as without a log."""
    program = "import multiprocessing as m; p = m.Process(target=print, args=('done',)); p.start(); p.join()"
    command = [sys.executable, "-m", "serverless_mp.cli", "run", "-c", program]
    reader, writer = os.pipe()
    if not is_closed:
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    os.close(reader)
    env = os.environ | {"SERVERLESS_MP_LOG": "info"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=writer, text=True, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_pool_that_was_refused_is_collected_quietly():
    command = [sys.executable, "-c", "import serverless_mp\nserverless_mp.Pool()"]
    env = os.environ | {"SERVERLESS_MP_WORKERS": "none"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "SERVERLESS_MP_WORKERS is 'none'" in done.stderr and "ignored" not in done.stderr

"""Programs of the kinds found in the wild print the same, unchanged, on CPython's multiprocessing and on ours."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import serverless_mp
from places import PROGRAMS


def test_an_impossible_other_name_is_refused(run, tmp_path):
    done = run("--as", "a-b", tmp_path / "program.py")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        ("serverless-mp: error: 'a-b' cannot be another name of multiprocessing: must be a package's, such as 'multiprocess'"),
    )
    with pytest.raises(RuntimeError, match="json is imported already: serverless_mp.install"):
        serverless_mp.install(as_=["json"])


def test_another_name_and_its_submodules(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import fiber, fiber.managers\n"
        "from fiber.pool import Pool, ThreadPool\n"
        "import multiprocessing\n"
        "print(fiber is multiprocessing, fiber.managers is multiprocessing.managers, multiprocessing.__spec__.name)\n"
        "try:\n"
        "    import fiber.ring\n"
        "except ImportError as e:\n"
        "    print(e)\n"
        "with Pool(2) as pool:\n"
        "    print(pool.map(lambda x: x + 1, range(3)))\n"
    )
    done = run("--as", "fiber", program)
    assert done.stdout == "True True multiprocessing\nNo module named 'fiber.ring'\n[1, 2, 3]\n", done.stderr


@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("fork_habits.py", ()),
        ("settings_before_pool/main.py", ()),
        ("forked_memory.py", ()),
        ("forked_settings.py", ()),
        ("executor.py", ()),
        ("log_queue.py", ()),
        ("asyncio_server.py", ()),
        ("graceful_stop.py", ()),
        ("own_manager.py", ()),
        ("shared_blocks.py", ()),
        ("one_copy.py", ()),
        ("receiving_thread.py", ()),
        ("pipeline.py", ()),
        ("process_map.py", ()),
        ("reusable_executor.py", ()),
        ("drop_in.py", ("--as", "multiprocess")),
    ],
)
def test_prints_the_same(run, tmp_path, program, options):
    path, summary = PROGRAMS / program, tmp_path / "summary.json"
    plain = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True, timeout=60)
    ours = run(*options, "--summary", summary, path)
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == plain.stdout, ours.stderr
    assert [process for process in json.loads(summary.read_text())["processes"] if process.get("launcher")]

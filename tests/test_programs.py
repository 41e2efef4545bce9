"""Programs of the kinds found in the wild: what they print on CPython's multiprocessing they print on ours, unchanged."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from places import PROGRAMS


@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("fork_habits.py", ()),
        ("settings_before_pool/main.py", ()),
        ("executor.py", ()),
        ("log_queue.py", ()),
        ("asyncio_server.py", ()),
        ("graceful_stop.py", ()),
        ("own_manager.py", ()),
        ("shared_blocks.py", ()),
        ("pipeline.py", ()),
        ("process_map.py", ()),
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

"""Four unchanged applications, and PyTorch's shared tensors, on CPython's multiprocessing and on ours.

Each directory has a script, which does not mention our package, and its pinned requirements. Wall times of both runs are at the
end of pytest's report.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# An environment that has torch, which is too large for the tests' own one. `make test-apps` creates it.
PPO = Path(os.environ.get("SERVERLESS_MP_TEST_PPO", HERE.parent.parent / ".venv-ppo")) / "bin" / "python"
LEARNED = 400


@pytest.fixture
def both(record_property, tmp_path):
    """Runs a program on CPython and on ours; checks in the summary that our workers did the work, and returns both outputs."""
    return functools.partial(run_both, record_property, tmp_path / "summary.json")


def run_both(record_property, summary, python, program, *arguments, timeout=280):
    outputs = []
    for ours in (False, True):
        command = [python, "-m", "serverless_mp.cli", "run", "--summary", summary] if ours else [python]
        begun = time.monotonic()
        done = subprocess.run(
            [*map(str, command), str(HERE / program), *arguments], capture_output=True, text=True, check=False, timeout=timeout
        )
        record_property("ours" if ours else "CPython", round(time.monotonic() - begun, 1))
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    report = json.loads(summary.read_text())
    # A worker that its pool has killed leaves no figures; the program's own store commands are always counted.
    assert len([process for process in report["processes"] if process.get("launcher")]) >= 4
    assert report["main"]["store_commands"] > 100
    return outputs


def without_bar(line):
    """Returns a line without its progress bar, which depends on timing."""
    return re.sub(r".*\d+ / +\d+ \|\s*", "", line)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "program",
    [
        ("evolution_strategies/fit.py",),
        ("evolution_strategies/poet.py",),
        ("pandarallel/frame.py",),
        ("pandarallel/frame.py", "bar"),
        ("scikit_learn/search.py",),
    ],
    ids=" ".join,
)
def test_results_are_equal(both, program):
    plain, ours = ([*filter(None, map(without_bar, output.split("\n")))] for output in both(sys.executable, *program))
    assert len(plain) >= 4
    assert ours == plain
    assert not any("False" in line for line in plain)  # the search compares each backend with a run without processes


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not PPO.exists(), reason="needs torch: make test-apps")
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("strategy", ["file_descriptor", "file_system"])
def test_shared_tensors(both, strategy, method):
    plain, ours = both(PPO, "shared_tensors/train.py", strategy, method)
    assert plain.count("\n") == 4
    assert ours == plain


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not PPO.exists(), reason="needs torch: make test-apps")
def test_ppo_learns(both):
    for output in both(PPO, "ppo/train.py"):
        assert float(output.removeprefix("mean reward")) >= LEARNED

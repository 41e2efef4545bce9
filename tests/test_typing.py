"""Type checkers see the same types as in `multiprocessing`."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import serverless_mp as multiprocessing

queue = multiprocessing.Queue()
reveal_type(multiprocessing.Lock())
with multiprocessing.Pool(2) as pool:
    reveal_type(pool.map(abs, [1]))
multiprocessing.Process(target=1)
multiprocessing.Pol()
"""


def test_the_module_is_typed(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110)
    found = done.stdout
    assert 'Revealed type is "multiprocessing.synchronize.Lock"' in found
    assert 'Revealed type is "list[int]"' in found
    assert 'program.py:8: error: Argument "target"' in found and 'has no attribute "Pol"' in found


def test_the_module_is_typed_for_pyright(tmp_path):
    pytest.importorskip("basedpyright", reason="make lint-pyright installs it")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    pyright = os.path.join(os.path.dirname(sys.executable), "basedpyright")
    command = [pyright, "--pythonpath", sys.executable, "program.py"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110).stdout
    assert 'Type of "multiprocessing.Lock()" is "Lock"' in found
    assert 'Type of "pool.map(abs, [1])" is "list[int]"' in found
    assert 'cannot be assigned to parameter "target"' in found and '"Pol" is not a known attribute' in found

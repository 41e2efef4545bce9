"""To a type checker the module is what `multiprocessing` is."""

import subprocess
import sys

PROGRAM = """
import serverless_mp as multiprocessing

queue = multiprocessing.Queue()
reveal_type(multiprocessing.Lock())
with multiprocessing.Pool(2) as pool:
    reveal_type(pool.map(abs, [1]))
multiprocessing.Process(target=1)
multiprocessing.Pol()
"""


def test_the_door_is_typed(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110)
    found = done.stdout
    assert 'Revealed type is "multiprocessing.synchronize.Lock"' in found
    assert 'Revealed type is "list[int]"' in found
    assert 'program.py:8: error: Argument "target"' in found and 'has no attribute "Pol"' in found

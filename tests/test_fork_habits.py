"""A program that relies on fork prints the same on CPython's fork and on ours."""

import subprocess
import sys

from places import PROGRAMS


def test_fork_habits(run):
    program = PROGRAMS / "fork_habits.py"
    plain = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    ours = run(program)
    assert ours.stdout == plain.stdout, ours.stderr


def test_a_global_that_cannot_travel_is_named(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing\n"
        "numbers = (n for n in range(3))\nnext(numbers)\n"
        "def work():\n    next(numbers)\n"
        "process = multiprocessing.Process(target=work)\n"
        "process.start()\nprocess.join()\nprint(process.exitcode)\n"
    )
    done = run(program)
    assert done.stdout == "1\n"
    assert "global 'numbers' of __main__ (generator) could not travel to the worker" in done.stderr

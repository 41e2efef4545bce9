"""Modules of a program that have names of the standard library's modules, as a `token.py` beside a script."""

import subprocess
import sys

import pytest

PROGRAM = """
import multiprocessing

import calendar
import csv


def look(number):
    from email import NAME

    return calendar.NAME, csv.NAME, NAME, number


if __name__ == "__main__":
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        process = context.Process(target=print, args=("in a worker",))
        process.start()
        process.join()
        with context.Pool(2) as pool:
            print(process.exitcode, pool.map(look, range(2)))
"""
SAID = "in a worker\n0 [('our calendar', 'our csv', 'our email', 0), ('our calendar', 'our csv', 'our email', 1)]\n" * 2


@pytest.fixture
def program(tmp_path):
    """The program, with modules that it imports before its processes and in them, and with others that nothing may import."""
    for name in ("calendar", "csv"):
        (tmp_path / f"{name}.py").write_text(f"NAME = 'our {name}'\n")
    (tmp_path / "email").mkdir()
    (tmp_path / "email" / "__init__.py").write_text("NAME = 'our email'\n")
    for name in ("inspect", "json", "platform", "secrets", "uuid", "zipfile", "packaging"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported')\n")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def test_by_the_command(run, program):
    done = run(program, cwd="/")
    assert done.stdout == SAID, done.stderr
    done = run("-m", "program", cwd=program.parent)
    assert done.stdout == SAID, done.stderr


@pytest.mark.parametrize(
    "begin",
    ["import serverless_mp as multiprocessing", "import serverless_mp\nserverless_mp.install()\nimport multiprocessing"],
)
@pytest.mark.parametrize("is_imported_before", [False, True])
def test_by_the_program(program, begin, is_imported_before):
    text = program.read_text().replace("import multiprocessing", begin)
    program.write_text(f"import calendar\n{text}" if is_imported_before else text)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == SAID, done.stderr


FULL = """
import queue

q = multiprocessing.Queue(1)
q.put(1)
try:
    q.put_nowait(2)
except queue.Full:
    print("full", q.get())
"""


def test_a_module_elsewhere_is_none(run, tmp_path):
    """One behind the standard library on the search path, and one in the directory in which the command is called."""
    for folder in ("behind", "here", "app"):
        (tmp_path / folder).mkdir()
    for folder in ("behind", "here"):
        (tmp_path / folder / "queue.py").write_text("raise RuntimeError('imported')\n")
    begin = f"import sys\nsys.path.append({str(tmp_path / 'behind')!r})\nimport serverless_mp as multiprocessing\n"
    (tmp_path / "app" / "ours.py").write_text(begin + FULL)
    (tmp_path / "app" / "program.py").write_text("import multiprocessing\n" + FULL)
    done = subprocess.run(
        [sys.executable, tmp_path / "app" / "ours.py"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "full 1\n", done.stderr
    done = run(tmp_path / "app" / "program.py", cwd=tmp_path / "here")
    assert done.stdout == "full 1\n", done.stderr

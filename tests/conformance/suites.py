"""Runs CPython's own tests of multiprocessing on our package, on the named interpreters.

    python tests/conformance/suites.py --wheel WHEEL [--on lambda|native] python3.11 [python3.13 ...]

Each interpreter gets an environment of its own with the wheel, and runs three suites: multiprocessing itself,
ProcessPoolExecutor, and the handling of `__main__`. A name is looked up on PATH and among pyenv's versions; an interpreter that
is not installed is skipped, with a message. With `--on lambda` the processes run in a function of the emulator that the other
tests use; with `--on native` CPython's own multiprocessing runs with our semaphores and shared memory. The exit code is 1 if a
test fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "aws"))
from emulator import Emulator
SUITES = {"mp": ["--exclude", HERE / "inherently_local.txt", "--only", "^(?!WithThreads)"], "main": [], "cf": []}
# Seconds for a test in a function, since each invocation of the emulator takes a tenth of a second.
LIMIT = "300"
# This test imports its own module in an isolated interpreter, so the module must be installed.
NEEDS_INSTALLED = "test_interpreter_shutdown"


def find(name: str) -> str | None:
    """Finds an interpreter by path or name; `python3.13` may be any 3.13 of pyenv."""
    found = shutil.which(name)
    if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
        return found
    versions = Path.home() / ".pyenv" / "versions"
    places = sorted(versions.glob(f"{name.removeprefix('python')}.*/bin/python"))
    return str(places[-1]) if places else None


def ask(python: str, expression: str) -> str:
    return subprocess.run([python, "-c", f"import sys; print({expression})"], capture_output=True, text=True, check=True).stdout.strip()


def environment(python: str, wheel: Path) -> Path:
    """Creates an interpreter's environment with the wheel; returns the interpreter in it."""
    folder = ROOT / f".venv-conformance-{ask(python, 'sys.version.split()[0]')}"
    inside = folder / "bin" / "python"
    if not inside.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, wheel], check=True)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", wheel], check=True)
    return inside


def has(python: Path, module: str) -> bool:
    return ask(str(python), f"__import__('importlib.util').util.find_spec('{module}') is not None") == "True"


def run(python: Path, suite: str, options: list[str]) -> tuple[str, list[str]]:
    """Runs a suite; returns its summary and the tests that failed."""
    arguments = list(SUITES[suite])
    if suite == "cf" and not has(python, "test.test_concurrent_futures"):
        source = Path(f"/usr/lib/python{ask(str(python), 'sys.version[:4]')}/test/test_concurrent_futures.py")
        fallback = Path("/usr/lib/python3.11/test/test_concurrent_futures.py")
        source = source if source.exists() else fallback
        if not source.exists():
            return "skipped: this interpreter was installed without test.test_concurrent_futures", []
        arguments += ["--cf-source", source, "--only", f"^(?!.*{NEEDS_INSTALLED})"]
    out = python.parent.parent / f"{suite}.json"
    command = [sys.executable, HERE / "conformance.py", "--python", python, "--suite", suite, "--module", "serverless_mp"]
    command += ["--install", "serverless_mp.install()", "--hook-scripts", "--jobs", "2", "--timeout", "60", "--retry", "1"]
    done = subprocess.run([*map(str, [*command, *arguments, *options]), "--quiet", "--out", str(out)], check=False, capture_output=True, text=True)
    if done.returncode or not out.exists():
        sys.exit(f"{suite} on {python} did not run:\n{done.stdout}{done.stderr}")
    tests = json.loads(out.read_text())["tests"]
    failed = [f"{name}: {test['status']}, {test['last']}" for name, test in tests.items() if test["status"] not in {"pass", "skip"}]
    again = [f"{name} passed at its second try; at first: {test['first']}" for name, test in tests.items() if test.get("first")]
    if not any(test["status"] == "pass" for test in tests.values()):
        failed.append("no test ran")
    return "\n      ".join([" ".join(done.stdout.splitlines()[-2:]), *again]), failed


@contextlib.contextmanager
def place(where: str):
    """Sets the environment variables for a launcher; yields options for the suites."""
    if where == "local":
        yield []
        return
    if where == "native":
        os.environ["SERVERLESS_MP_LAUNCHER"] = "native"
        # In an interpreter that multiprocessing has started, our package is still being imported here; it then installs itself.
        yield ["--module", "multiprocessing", "--install", "getattr(__import__('serverless_mp'), 'install', int)()"]
        return
    emulator = Emulator(Path(tempfile.mkdtemp(prefix="smp-conformance-")))
    try:
        done = emulator.deploy("conformance", "--timeout", LIMIT)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        os.environ.update(emulator.env, SERVERLESS_MP_LAUNCHER="lambda", SERVERLESS_MP_FUNCTION="conformance", SERVERLESS_MP_BILL="off")
        yield ["--timeout", LIMIT]
    finally:
        emulator.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--suite", choices=SUITES, action="append", help="only this one")
    parser.add_argument("--on", choices=["local", "lambda", "native"], default="local", help="where processes run")
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    options, more = parser.parse_known_args()
    failures = 0
    with place(options.on) as limits:
        for name in options.pythons:
            python = find(name)
            if python is None:
                print(f"{name}: not installed, skipped", flush=True)
                continue
            inside = environment(python, options.wheel)
            for suite in options.suite or SUITES:
                text, failed = run(inside, suite, [*limits, *more])
                print(f"{suite:5} {text}", *failed, sep="\n      ", flush=True)
                failures += len(failed)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())

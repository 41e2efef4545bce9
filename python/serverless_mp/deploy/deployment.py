"""A deployment: compares the command line with what exists, plans the steps and takes them."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from . import deployed, wheels
from .code import Archive, Container, Upload, check_zip
from .repository import Repository
from .resources import Function, Layer, Role
from .settings import ARCHITECTURES, Settings, local_architecture

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from .code import Code
    from .content import Content


class Deployment:
    """The function with its packages and its role. Raises ValueError or ContentError for an impossible deployment."""

    def __init__(self, options: argparse.Namespace, session: Any) -> None:
        before = deployed.complete(options, session)
        noted = deployed.note(options)
        # The files of the packages stay in it until they are sent.
        self._folder = tempfile.TemporaryDirectory(prefix="serverless-mp-deploy-")
        self._console = Console(stderr=True)
        self._sent: Any = None
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=self._console, transient=True
        ) as bar:
            task = bar.add_task("the packages")
            settings, content = self._build(options, before.packages, lambda text: bar.update(task, description=text))
            settings.noted = noted
            upload = Upload(session, settings, self._show)
            self._code: Code = (
                Container(session, settings, content, self._folder.name, self._show)
                if settings.image
                else Archive(settings, content, upload)
            )
        # The repository of an image that a zip replaces.
        self._old = Repository(session, settings.function) if before.kind == "Image" != self._code.kind else None
        self._role = Role(session, settings)
        self._layer = Layer(session, settings, content, upload)
        self._function = Function(session, settings, content, self._code)
        plans = [self._role.plan(), self._layer.plan(), self._code.plan()]
        if plans[1]:
            check_zip(content.archive, settings)
        plans.append(self._function.plan(self._role.arn(), self._layer.arns()))
        # The steps that are needed, in words.
        self.plans = [plan for plan in plans if plan]

    def _build(self, options: argparse.Namespace, kept: list[str], tell: Callable[[str], None]) -> tuple[Settings, Content]:
        """Builds for the architecture named or deployed; for a new function, this machine's or the one that has all wheels."""
        here = local_architecture()
        named = options.architecture
        problem = None
        for architecture in [named] if named else sorted(ARCHITECTURES, key=lambda one: one != here):
            settings = _settings(options, architecture)
            settings.packages = kept
            try:
                return settings, wheels.build(settings, f"{self._folder.name}/{architecture}", tell)
            except wheels.NoWheelError as e:
                problem = problem or e
        assert problem is not None  # noqa: S101 - there is at least one architecture
        raise problem

    def _show(self, sent: int, size: int) -> None:
        self._sent(sent, size)

    def apply(self) -> Iterator[str]:
        """Takes the steps. Yields a line for each resource that was kept although its removal might have been expected."""
        with Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=self._console, transient=True
        ) as bar:
            task = bar.add_task("upload", visible=False)
            self._sent = lambda sent, size: bar.update(task, completed=sent, total=size, visible=True)
            arn = self._role.apply()
            layers = self._layer.apply()
            self._code.send()
            self._function.apply(arn, layers)
        self._code.clear()
        yield from self._old.destroy() if self._old is not None else []
        for line in self._layer.destroy(keep=layers[0] if layers else None):
            if line.startswith("kept"):
                yield line


def _settings(options: argparse.Namespace, architecture: str) -> Settings:
    glibc = None
    if options.glibc is not None:
        major, _, minor = options.glibc.partition(".")
        if not major.isdecimal() or not minor.isdecimal():
            raise ValueError(f"--glibc {options.glibc}: must be two numbers, as in 2.34")
        glibc = (int(major), int(minor))
    environment = {}
    for pair in options.environment:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--environment {pair}: must be NAME=VALUE")
        environment[name] = value
    return Settings(
        **{
            key: getattr(options, key)
            for key in (
                "function", "runtime", "memory", "timeout", "disk", "policies", "requirements", "wheel", "bucket", "role",
                "subnets", "security_groups", "interpreter", "base",
            )
        },
        strip_tests=bool(options.strip_tests),
        in_function=bool(options.in_function),
        image=bool(options.image),
        architecture=architecture,
        environment=environment,
        glibc=glibc,
    )  # fmt: skip

"""A deployment: what its command line says and what is there already, the steps between, and taking them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from . import deployed, layer
from .resources import Function, Layer, Role, check_zip, uploader
from .settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


class Deployment:
    """The function with its packages and its role. Raises ValueError or LayerError for what cannot be."""

    def __init__(self, options: argparse.Namespace, session: Any) -> None:
        kept = deployed.complete(options, session)
        settings = _settings(options)
        settings.packages, settings.noted = kept, deployed.note(options)
        self._console = Console(stderr=True)
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=self._console, transient=True
        ) as bar:
            task = bar.add_task("the packages")
            content = layer.build(settings, lambda text: bar.update(task, description=text))
        content.check_size()
        self._sent: Any = None
        upload = uploader(session, settings, self._show)
        self._role = Role(session, settings)
        self._layer = Layer(session, settings, content, upload)
        self._function = Function(session, settings, content, upload)
        plans = [self._role.plan(), self._layer.plan()]
        plans.append(self._function.plan(self._role.arn(), self._layer.arns()))
        if plans[1] or settings.in_function:
            check_zip(content.archive, settings)
        # The steps that are needed, in words.
        self.plans = [plan for plan in plans if plan]

    def _show(self, sent: int, size: int) -> None:
        self._sent(sent, size)

    def apply(self) -> Iterator[str]:
        """Takes them; tells what it has kept that might have been expected to go."""
        with Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=self._console, transient=True
        ) as bar:
            task = bar.add_task("upload", visible=False)
            self._sent = lambda sent, size: bar.update(task, completed=sent, total=size, visible=True)
            arn = self._role.apply()
            layers = self._layer.apply()
            self._function.apply(arn, layers)
        for line in self._layer.destroy(keep=layers[0] if layers else None):
            if line.startswith("kept"):
                yield line


def _settings(options: argparse.Namespace) -> Settings:
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
                "function", "runtime", "architecture", "memory", "timeout", "disk", "policies", "requirements", "wheel",
                "bucket", "role", "subnets", "security_groups", "strip_tests", "in_function", "interpreter",
            )
        },
        environment=environment,
        glibc=glibc,
    )  # fmt: skip

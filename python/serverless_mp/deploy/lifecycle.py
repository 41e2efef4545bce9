"""deploy and destroy: create and delete a function."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import deployed
from .deployment import Deployment
from .repository import Repository
from .resources import Layer, Role, found
from .settings import AL2023, Settings, may_be_repository

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator


def deploy(options: argparse.Namespace, session: Any) -> int:
    """Creates the function, or updates what differs."""
    # Checks credentials and region first: they are most often missing, and building takes longest.
    session.client("sts").get_caller_identity()
    deployment = Deployment(options, session)
    for plan in deployment.plans:
        sys.stdout.write(f"{plan}\n")
    if not deployment.plans:
        sys.stdout.write(f"function {options.function} is as it should be: nothing to do\n")
    elif not options.dry_run:
        for line in deployment.apply():
            sys.stdout.write(f"{line}\n")
        sys.stdout.write(f"done: {how_to_run(options.function)}\n")
    return 0


def how_to_run(function: str) -> str:
    """The command that runs a program on the function."""
    named = "" if function == "serverless-mp" else f" --function {function}"
    return f"serverless-mp run --on lambda{named} script.py"


def destroy(options: argparse.Namespace, session: Any) -> int:
    """Deletes the function. Resources that are gone already are no error, so it can be run again."""
    question = f"Delete function {options.function}, its packages, its role and its log?"
    if not options.yes and not agrees(
        question, f"destroy deletes function {options.function}, its packages, its role and its log"
    ):
        return 1
    tell(ends(options.function, session))
    return 0


def tell(gone: Iterable[str]) -> None:
    """Prints each line as it arrives."""
    lines = 0
    for line in gone:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        lines += 1
    if not lines:
        sys.stdout.write("nothing was there\n")


def agrees(question: str, deed: str) -> bool:
    """Asks the user. Raises ValueError if nobody can answer."""
    if not sys.stdin.isatty():
        raise ValueError(f"{deed}: name --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def ends(function: str, session: Any) -> Iterator[str]:
    """Deletes a function with all that belongs to it. Yields a line for each resource."""
    settings = Settings(function=function, glibc=AL2023)
    now = found(session.client("lambda").get_function_configuration, FunctionName=function)
    if now is not None:
        session.client("lambda").delete_function(FunctionName=function)
        yield f"deleted function {function}"
        manifest = deployed.manifest_of(now)
        bucket = manifest and manifest.options.get("bucket")
        if bucket:
            yield from _empty(session, bucket, f"serverless-mp/{function}/")
    if may_be_repository(function) and (now is None or now.get("PackageType") == "Image"):
        yield from Repository(session, function).destroy()
    yield from Layer(session, settings, None, lambda *_: {}).destroy()
    yield from Role(session, settings).destroy()
    log = f"/aws/lambda/{function}"
    logs = session.client("logs")
    if any(g["logGroupName"] == log for g in logs.describe_log_groups(logGroupNamePrefix=log)["logGroups"]):
        logs.delete_log_group(logGroupName=log)
        yield f"deleted log {log}"


def _empty(session: Any, bucket: str, prefix: str) -> Iterator[str]:
    """Deletes the objects that were uploaded for the function. Yields a line for each."""
    client = session.client("s3")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Contents", []):
            client.delete_object(Bucket=bucket, Key=one["Key"])
            yield f"deleted s3://{bucket}/{one['Key']}"

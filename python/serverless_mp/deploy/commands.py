"""The commands of the command line that talk to an account; deploy and destroy themselves."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from . import deployed, layer, queries
from .resources import Function, Layer, Role, check_zip, found, uploader
from .settings import AL2023, Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def call(options: argparse.Namespace) -> int:
    """Runs a command; errors are one line that says what to do."""
    try:
        # The SDKs disagree: boto3 reads AWS_DEFAULT_REGION only.
        session = boto3.session.Session(region_name=os.environ.get("AWS_REGION"))
        if session.region_name is None:
            raise NoRegionError  # noqa: TRY301 - as boto3 itself, which says so only in some calls
        return _CALLS[options.command](options, session)
    except NoCredentialsError:
        problem = (
            "no AWS credentials were found: run `aws configure`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    except NoRegionError:
        problem = "no AWS region: set AWS_REGION, or `region` in the profile (~/.aws/config)"
    except ClientError as e:
        problem = f"AWS refuses {e.operation_name}: {e.response['Error']['Code']}: {e.response['Error']['Message']}"
    except (ValueError, layer.LayerError, BotoCoreError) as e:
        problem = str(e)
    sys.stderr.write(f"serverless-mp: {problem}\n")
    return 1


# ---- deploy ----------------------------------------------------------------------------------------------------


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
                "function", "runtime", "architecture", "memory", "timeout", "requirements", "wheel", "bucket", "role",
                "subnets", "security_groups", "strip_tests", "in_function", "interpreter",
            )
        },
        environment=environment,
        glibc=glibc,
    )  # fmt: skip


def _deploy(options: argparse.Namespace, session: Any) -> int:
    # Credentials and region first: they are what is most often missing, and building takes longest.
    session.client("sts").get_caller_identity()
    kept = deployed.complete(options, session)
    settings = _settings(options)
    settings.packages, settings.noted = kept, deployed.note(options)
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("the packages")
        content = layer.build(settings, lambda text: bar.update(task, description=text))
    content.check_size()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=console,
        transient=True,
        disable=options.dry_run,
    ) as bar:
        task = bar.add_task("upload", visible=False)
        upload = uploader(session, settings, lambda sent, size: bar.update(task, completed=sent, total=size, visible=True))
        role = Role(session, settings)
        packages_layer = Layer(session, settings, content, upload)
        function = Function(session, settings, content, upload)
        plans = [role.plan(), packages_layer.plan()]
        plans.append(function.plan(role.arn(), packages_layer.arns()))
        todo = [plan for plan in plans if plan]
        if plans[1] or settings.in_function:
            check_zip(content.archive, settings)
        for plan in todo:
            sys.stdout.write(f"{plan}\n")
        if not todo:
            sys.stdout.write(f"function {settings.function} is as it should be: nothing to do\n")
        if todo and not options.dry_run:
            arn = role.apply()
            layers = packages_layer.apply()
            function.apply(arn, layers)
            for line in packages_layer.destroy(keep=layers[0] if layers else None):
                if line.startswith("kept"):
                    sys.stdout.write(f"{line}\n")
            sys.stdout.write(f"done: serverless-mp run --on lambda{_named(settings.function)} script.py\n")
    return 0


def _named(function: str) -> str:
    return "" if function == "serverless-mp" else f" --function {function}"


def _destroy(options: argparse.Namespace, session: Any) -> int:
    """Each thing is printed as it goes. What is gone already is no error: it can be run again."""
    settings = Settings(function=options.function, glibc=AL2023)
    client = session.client("lambda")
    now = found(client.get_function_configuration, FunctionName=options.function)
    if not options.yes and not _agrees(options.function):
        return 1
    lines = 0
    for line in _ends(options.function, settings, session, now):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        lines += 1
    if not lines:
        sys.stdout.write("nothing was there\n")
    return 0


def _agrees(function: str) -> bool:
    if not sys.stdin.isatty():
        raise ValueError(f"destroy deletes function {function}, its packages, its role and its log: name --yes")
    sys.stderr.write(f"Delete function {function}, its packages, its role and its log? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _ends(function: str, settings: Settings, session: Any, now: dict[str, Any] | None) -> Iterator[str]:
    if now is not None:
        session.client("lambda").delete_function(FunctionName=function)
        yield f"deleted function {function}"
        manifest = deployed.manifest_of(now)
        bucket = manifest and manifest.options.get("bucket")
        if bucket:
            yield from _empty(session, bucket, f"serverless-mp/{function}/")
    yield from Layer(session, settings, None, lambda *_: {}).destroy()
    yield from Role(session, settings).destroy()
    log = f"/aws/lambda/{function}"
    logs = session.client("logs")
    if any(g["logGroupName"] == log for g in logs.describe_log_groups(logGroupNamePrefix=log)["logGroups"]):
        logs.delete_log_group(logGroupName=log)
        yield f"deleted log {log}"


def _empty(session: Any, bucket: str, prefix: str) -> Iterator[str]:
    """What was uploaded for the function."""
    client = session.client("s3")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Contents", []):
            client.delete_object(Bucket=bucket, Key=one["Key"])
            yield f"deleted s3://{bucket}/{one['Key']}"


_CALLS = {
    "deploy": _deploy,
    "destroy": _destroy,
    "status": queries.status,
    "doctor": queries.doctor,
    "logs": queries.logs,
}

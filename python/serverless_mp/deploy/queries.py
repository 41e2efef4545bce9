"""The commands that look and change nothing: status, doctor, logs."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from serverless_mp import _core, config
from serverless_mp.program import packages

from .deployed import manifest_of
from .resources import found

if TYPE_CHECKING:
    import argparse

_FOLLOW = 1.0


def status(options: argparse.Namespace, session: Any) -> int:
    """Prints what is deployed; returns 1 if nothing is."""
    now = found(session.client("lambda").get_function_configuration, FunctionName=options.function)
    if now is None:
        sys.stdout.write(f"there is no function {options.function} in {session.region_name}: `serverless-mp deploy` makes it\n")
        return 1
    vpc = ", ".join(now.get("VpcConfig", {}).get("SubnetIds", [])) or "none"
    there = manifest_of(now)
    rows = {
        "function": now["FunctionArn"],
        "state": f"{now.get('State')}, {now.get('LastUpdateStatus')}",
        "runtime": f"{now.get('Runtime')}, {', '.join(now.get('Architectures', []))}",
        "memory, time": f"{now['MemorySize']} MB, {now['Timeout']} s",
        "subnets": vpc,
        "layers": ", ".join(item["Arn"] for item in now.get("Layers", [])) or "none",
        "role": now["Role"],
    }
    if there is not None:
        versions = ", ".join(f"{name} {version}" for name, version in sorted(there.versions.items()))
        rows["packages"] = f"Python {there.python}, {versions}"
    for name, value in rows.items():
        sys.stdout.write(f"{name:13} {value}\n")
    return 0


def doctor(options: argparse.Namespace, session: Any) -> int:
    """Everything that a run needs, one line each; 1 if something is not in order."""
    checks: list[tuple[bool, str]] = []
    identity = session.client("sts").get_caller_identity()
    checks.append((True, f"credentials: {identity['Arn']}, region {session.region_name}"))
    client = session.client("lambda")
    now = found(client.get_function_configuration, FunctionName=options.function)
    checks.append(
        (now is not None, f"function {options.function}" + ("" if now else ": not there; `serverless-mp deploy` makes it"))
    )
    if now is not None:
        url = config.redis_url()
        theirs = config.function_redis_url() or url
        event = {"serverless_mp": "describe"} | ({"url": theirs} if theirs else {})
        answer = client.invoke(FunctionName=options.function, Payload=json.dumps(event).encode())
        body = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            checks.append((False, f"invocation: {body.get('errorMessage', body)}"))
        else:
            checks += _compare(body["serverless_mp"])
            checks += _stores(url, body["serverless_mp"])
    for is_well, text in checks:
        sys.stdout.write(f"{'ok  ' if is_well else 'BAD '} {text}\n")
    return 0 if all(is_well for is_well, _ in checks) else 1


def _compare(there: dict[str, Any]) -> list[tuple[bool, str]]:
    here, theirs = packages.installed(), {str(canonicalize_name(name)): version for name, version in there["packages"].items()}
    python = platform.python_version()
    fits = python.split(".")[:2] == there["python"].split(".")[:2]
    checks = [(fits, f"Python {python} here, {there['python']} there")]
    differ = [name for name in sorted(here.keys() & theirs.keys()) if here[name] != theirs[name]]
    checks += [(False, f"{name} {here[name]} here, {theirs[name]} there") for name in differ]
    same = sorted((here.keys() & theirs.keys()) - set(differ))
    checks.append((True, f"{len(same)} packages in the same version on both sides: {', '.join(same)}"))
    return checks


def _stores(url: str | None, there: dict[str, Any]) -> list[tuple[bool, str]]:
    if url is None:
        return [(False, f"store: {config.redis_url.name} is not set; functions need one that they reach")]
    checks = []
    try:
        _core.open_session(url, config.lease() * 1000)
        _core.close_session()
        checks.append((True, f"store {config.place(url)} from here"))
    except OSError as e:
        checks.append((False, f"store {config.place(url)} from here: {e}"))
    problem = there.get("store")
    checks.append((not problem, f"store {config.place(url)} from the function" + (f": {problem}" if problem else "")))
    return checks


def logs(options: argparse.Namespace, session: Any) -> int:
    """Prints the function's log, and with --follow what comes."""
    client = session.client("logs")
    since, seen = int((time.time() - options.minutes * 60) * 1000), set()
    try:
        while True:
            pages = client.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{options.function}", startTime=since
            )
            for page in pages:
                for event in page["events"]:
                    # The log stream's clock is coarse: what was seen at the last moment comes again.
                    mark = (event["timestamp"], event.get("logStreamName"), event["message"])
                    if mark not in seen:
                        seen.add(mark)
                        since = max(since, event["timestamp"])
                        sys.stdout.write(event["message"].rstrip("\n") + "\n")
            if not options.follow:
                return 0
            sys.stdout.flush()
            time.sleep(_FOLLOW)
    except KeyboardInterrupt:
        return os.EX_OK
    except client.exceptions.ResourceNotFoundException:
        sys.stdout.write(f"function {options.function} has not logged anything\n")
        return 0

"""The commands that change nothing: status, doctor, logs."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from packaging.utils import canonicalize_name

from serverless_mp import addresses, config
from serverless_mp.command import doctor as local
from serverless_mp.program import packages

from .deployed import manifest_of
from .instance import Store, price
from .private import Network
from .resources import found

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_FOLLOW = 1.0
# Packages that every program uses.
_ALWAYS = {"serverless-mp", "cloudpickle"}


def status(options: argparse.Namespace, session: Any) -> int:
    """Prints what is deployed. Returns 1 if nothing is."""
    now = found(session.client("lambda").get_function_configuration, FunctionName=options.function)
    store = _up(options.function, session)
    if now is None:
        sys.stdout.write(f"there is no function {options.function} in {session.region_name}: `serverless-mp deploy` makes it\n")
        _show(store)
        return 1
    vpc = ", ".join(now.get("VpcConfig", {}).get("SubnetIds", [])) or "none"
    there = manifest_of(now)
    rows = {
        "function": now["FunctionArn"],
        "state": f"{now.get('State')}, {now.get('LastUpdateStatus')}",
        "runtime": f"{now.get('Runtime') or 'image'}, {', '.join(now.get('Architectures', []))}",
        "memory, time": f"{now['MemorySize']} MB, {now['Timeout']} s",
        "subnets": vpc,
        "layers": ", ".join(item["Arn"] for item in now.get("Layers", [])) or "none",
        "role": now["Role"],
    }
    if there is not None:
        versions = ", ".join(f"{name} {version}" for name, version in sorted(there.versions.items()))
        rows["packages"] = f"Python {there.python}, {versions}"
    _show(rows | store)
    return 0


def _show(rows: dict[str, str]) -> None:
    for name, value in rows.items():
        sys.stdout.write(f"{name:13} {value}\n")


def _up(function: str, session: Any) -> dict[str, str]:
    """The resources of `up`, by name."""
    noted = addresses.read(function)
    try:
        if addresses.is_private(noted):
            network = Network(session, function)
            stack = network.stack() or {"StackStatus": "gone"}
            return {"network": f"stack {network.name}, {stack['StackStatus']}", "tunnel": network.tunnel()}
        rows = [_machine(one, noted) for one in Store(session, function).instances()]
        return {"store": "; ".join(rows)} if rows else {}
    except ClientError as e:
        return {"store": f"not looked at: {e.operation_name}: {e.response['Error']['Code']}"}


def _machine(instance: dict[str, Any], noted: dict[str, Any] | None) -> str:
    identity, kind, state = instance["InstanceId"], instance["InstanceType"], instance["State"]["Name"]
    text = f"{identity}, {kind}, {state}, {instance.get('PublicIpAddress', 'no address')}, {price(kind)} an hour while it runs"
    if noted is None or noted.get("instance") != identity:
        return f"{text}; its password is not known here"
    return f"{text}; `serverless-mp up` starts it again" if state == "stopped" else text


def doctor(options: argparse.Namespace, session: Any) -> int:
    """Checks what a run needs of the account. Returns 1 if a run would be refused."""
    return local.show(_needs(options.function, session))


def _needs(function: str, session: Any) -> Iterator[tuple[str, str]]:
    identity = session.client("sts").get_caller_identity()
    yield "ok", f"credentials: {identity['Arn']}, region {session.region_name}"
    client = session.client("lambda")
    now = found(client.get_function_configuration, FunctionName=function)
    if now is None:
        yield "BAD", f"function {function}: not there; `serverless-mp deploy` makes it"
        return
    yield "ok", f"function {function}"
    quota = client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    text = f"the account runs {quota} invocations at once; more processes wait for their turn"
    yield (
        ("note" if quota else "BAD"),
        text if quota else "the account may run no invocation: ask for the quota (Service Quotas)",
    )
    theirs = config.function_redis_url() or config.redis_url()
    event = {"serverless_mp": "describe"} | ({"url": theirs} if theirs else {})
    answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
    body = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        yield "BAD", f"invocation: {body.get('errorMessage', body)}"
        return
    yield from _compare(body["serverless_mp"])
    if "memory" in body["serverless_mp"]:  # an older version does not say
        yield local.memory("there", *body["serverless_mp"]["memory"])
    if theirs is None:
        yield (
            "BAD",
            f"store: {config.redis_url.name} is not set; functions need one that they reach: `serverless-mp up` makes one",
        )
        return
    problem = body["serverless_mp"].get("store")
    place = f"store {config.place(theirs)} from the function"
    yield ("BAD", f"{place}: {problem}") if problem else ("ok", place)


def _compare(there: dict[str, Any]) -> Iterator[tuple[str, str]]:
    here, theirs = packages.installed(), {str(canonicalize_name(name)): version for name, version in there["packages"].items()}
    python = platform.python_version()
    fits = python.split(".")[:2] == there["python"].split(".")[:2]
    yield ("ok" if fits else "BAD"), f"Python {python} here, {there['python']} there"
    both = sorted(here.keys() & theirs.keys())
    for name in [name for name in both if here[name] != theirs[name]]:
        # A program that imports the package is refused; other programs run.
        fits = packages.release(here[name]) == packages.release(theirs[name])
        text = f"{name} {here[name]} here, {theirs[name]} there"
        needed = name in _ALWAYS and not fits
        yield ("BAD" if needed else "note"), text if fits or needed else f"{text}: a program that imports it is refused"
    same = [name for name in both if here[name] == theirs[name]]
    yield "ok", f"{len(same)} packages in the same version on both sides: {', '.join(same)}"


def logs(options: argparse.Namespace, session: Any) -> int:
    """Prints the function's log, and with --follow new lines as they arrive."""
    client = session.client("logs")
    since, seen = int((time.time() - options.minutes * 60) * 1000), set()
    try:
        while True:
            pages = client.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{options.function}", startTime=since
            )
            for page in pages:
                for event in page["events"]:
                    # The clock of the log stream is coarse: events of the last moment are returned again.
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

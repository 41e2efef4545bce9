"""The options of the commands, without importing the packages that the commands themselves need."""

from __future__ import annotations

import argparse
from typing import Any

from serverless_mp import config

from .settings import ARCHITECTURES, local_architecture, local_runtime

HELP = {
    "up": "make everything that a first run on AWS needs: a store, and the function",
    "down": "remove what up has made",
    "deploy": "make or update the Lambda function that processes run in",
    "destroy": "delete the function, its layer, its role and its log",
    "status": "show what is deployed",
    "doctor": "check whether a run would start: this machine, the store, the account, the function",
    "logs": "show the log of the function",
}


def add(commands: Any) -> None:
    """Adds the commands to the command line."""
    for name, text in HELP.items():
        parser = commands.add_parser(name, help=text, epilog=_EPILOGS.get(name))
        _add_function(parser)
        _MORE.get(name, lambda _: None)(parser)


_EPILOGS = dict.fromkeys(("up", "deploy"), "If the function exists already, options that are not given keep their values.")


def _deploy(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option(
        "--requirements",
        metavar="FILE",
        help="the packages that the program's processes import, as for pip; versions are those installed here",
    )
    option("--memory", type=int, metavar="MB", help="128 to 10240; 1769, the default, is one processor")
    option("--timeout", type=int, metavar="S", help="1 to 900, the default: the longest life of a process")
    option("--disk", type=int, metavar="MB", help="512, the default, to 10240: the room in /tmp")
    option("--runtime", help=f"a managed runtime, or provided.al2023 (default: this Python's, {local_runtime()})")
    option(
        "--architecture",
        choices=ARCHITECTURES,
        help=f"default: this machine's, {local_architecture()}, or the other one if only that has all wheels",
    )
    option("--subnets", nargs="+", metavar="ID", help="the subnets of the store's VPC")
    option("--security-groups", nargs="+", metavar="ID", help="security groups that the store accepts")
    option("--role", metavar="ARN", help="an existing role (default: one is created)")
    option(
        "--policy",
        dest="policies",
        nargs="+",
        action="extend",
        default=[],
        metavar="ARN",
        help="managed policies for the role that is made: what the program's processes may do in the account",
    )
    option("--bucket", metavar="NAME", help="an S3 bucket, for packages above 50 MB zipped and for large arguments")
    option(
        "--environment",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="environment variables of the function",
    )
    switch = argparse.BooleanOptionalAction
    option("--strip-tests", action=switch, help="leave out directories named tests or test, which a few packages need")
    option("--wheel", metavar="FILE", help="the wheel of serverless_mp (default: from the package index)")
    option("--in-function", action=switch, help="put the packages into the function itself, not into a layer")
    option("--image", action=switch, help="deploy a container image, for packages above 250 MB; built without Docker")
    option("--base", metavar="IMAGE", help="the base of the image (default: public.ecr.aws/lambda/python:VERSION)")
    option("--interpreter", metavar="PATH", help="for a custom runtime: the Python that its image or another layer has")
    option("--glibc", metavar="M.N", help="the version of the C library there, if not the managed runtime's")
    option("--dry-run", action="store_true", help="print what would be done")


def _up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instance-type", metavar="TYPE", help="the type of the store's machine (default: t4g.small, 2 GB)")
    parser.add_argument("--port", type=int, help="the port of the store (default: 6379)")
    parser.add_argument(
        "--private", action="store_true", help="create a VPC without internet access, with ElastiCache in place of the machine"
    )
    _yes(parser)
    _deploy(parser)


def _down(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--private", action="store_true", help="also remove the network of up --private if this machine has no record of it"
    )
    _yes(parser)


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=int, default=10, help="how far back (default: %(default)s)")
    parser.add_argument("--follow", action="store_true", help="go on until interrupted")


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--local", action="store_true", help="check this machine and the store, not the account")


_MORE = {"doctor": _doctor, "up": _up, "down": _down, "deploy": _deploy, "destroy": _yes, "logs": _logs}


def _add_function(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--function",
        default=config.function(),
        help=f"the name of the function (default: {config.function.name}, else serverless-mp)",
    )

"""The command `serverless-mp`: run a program, and look after the function that its processes may run in."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from . import config, summary

_USAGE = (
    "serverless-mp run [--on local|lambda] [--function NAME] [--as NAME] [--summary FILE] "
    "(script.py | -m module) [arguments ...]"
)
_ACCOUNT = {
    "deploy": "make or update the Lambda function that processes run in",
    "destroy": "delete the function, its layer, its role and its log",
    "status": "what is deployed",
    "doctor": "compare this environment with what is deployed",
    "logs": "what the function has logged",
}


def main(argv: list[str] | None = None) -> None:
    """`serverless-mp run script.py arguments...`, and the commands for AWS."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="serverless-mp", description="Python's multiprocessing, without walls.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a Python program whose multiprocessing is ours", usage=_USAGE)
    run.add_argument("--on", choices=config.LAUNCHERS, help="where its processes run (default: this machine)")
    run.add_argument("--function", help="the Lambda function that they run in (default: serverless-mp)")
    run.add_argument(
        "--as", dest="names", metavar="NAME", action="append", default=[],
        help="serve this name as well, of a package that is a drop-in for multiprocessing (multiprocess, billiard, fiber)",
    )  # fmt: skip
    run.add_argument("--summary", metavar="FILE", help="write to FILE, as JSON, which processes ran, where and how")
    run.add_argument("-m", dest="module", action="store_true", help="the program is a module, as for python -m")
    run.add_argument("program", help="the script, or with -m the module")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own arguments")
    _add_account_commands(commands, argv)
    options = parser.parse_args(argv)
    if options.command in _ACCOUNT:
        from .deploy import commands as account  # noqa: PLC0415 - boto3, which a run does not need

        sys.exit(account.call(options))
    if options.on:
        os.environ[config.LAUNCHER] = options.on
    if options.function:
        os.environ[config.FUNCTION] = options.function
    if options.summary:
        os.environ[summary.VARIABLE] = os.path.abspath(options.summary)

    from . import run as runner  # noqa: PLC0415 - only when there is something to run
    from .install import install  # noqa: PLC0415 - the same

    try:
        config.check()
        install(options.names)
    except (ValueError, RuntimeError) as e:
        parser.error(str(e))
    if options.module:
        runner.run_module(options.program, options.arguments)
    else:
        runner.run_script(options.program, options.arguments)


def _add_account_commands(commands: Any, argv: list[str]) -> None:
    """Their own parsers where one is wanted; for the list of commands their names are enough."""
    if not set(argv[:1]) & set(_ACCOUNT):
        for name, text in _ACCOUNT.items():
            commands.add_parser(name, help=text)
        return
    try:
        from .deploy import commands as account  # noqa: PLC0415 - boto3, which a run does not need
    except ModuleNotFoundError as e:
        sys.exit(f"serverless-mp: {argv[0]} needs {e.name}: pip install 'serverless_mp[aws]'")
    account.add_parsers(commands, _ACCOUNT)


if __name__ == "__main__":
    sys.argv[0] = "serverless-mp"
    main()

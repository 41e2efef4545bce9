"""The command `serverless-mp`: runs programs, and manages the function in which their processes may run."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from . import config, native
from .store import report, session

_USAGE = (
    "serverless-mp run [--on local|lambda|native] [--function NAME] [--workers N] [--as NAME] [--summary FILE] [--dry-run] "
    "(script.py | -m module | -c code | -) [arguments ...]"
)


def main(argv: list[str] | None = None) -> None:
    """Entry point: `serverless-mp run script.py arguments...`, and the commands for AWS."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="serverless-mp",
        description="Runs Python programs that use multiprocessing on AWS Lambda functions or on local workers.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands)
    commands.add_parser("settings", help="show the environment variables that are read, and their current values")
    from .deploy import parsers  # noqa: PLC0415 - not needed to import this module

    parsers.add(commands)
    options = parser.parse_args(argv)
    if options.command == "run":
        _run(parser, options)
    elif options.command == "settings":
        from .command import settings  # noqa: PLC0415 - not needed to run a program

        sys.exit(settings.show())
    elif options.command == "doctor":
        sys.exit(_examine(options))
    else:
        sys.exit(_call_account(options))


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata  # noqa: PLC0415 - 30 ms that a run does not need

        sys.stdout.write(f"serverless-mp {metadata.version('serverless_mp')}\n")
        parser.exit()


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run a Python program with serverless_mp in place of multiprocessing", usage=_USAGE)
    run.add_argument("--on", choices=config.LAUNCHERS, help=_help(config.launcher))
    run.add_argument("--function", metavar="NAME", help=_help(config.function))
    run.add_argument("--workers", metavar="N", help=_help(config.workers))
    run.add_argument(
        "--as", dest="names", metavar="NAME", action="append", default=[],
        help="serve this name as well, of a package that is a drop-in for multiprocessing (multiprocess, fiber, "
        "lithops.multiprocessing)",
    )  # fmt: skip
    run.add_argument("--summary", metavar="FILE", help=_help(config.summary))
    run.add_argument(
        "--dry-run", action="store_true", help="run nothing: list the program's files that would be sent to a function"
    )
    form = run.add_mutually_exclusive_group()
    form.add_argument("-m", dest="form", action="store_const", const="module", help="the program is a module, as for python -m")
    form.add_argument("-c", dest="form", action="store_const", const="code", help="the program is this text, as for python -c")
    run.add_argument("program", help="the script, a directory or archive with a __main__.py, or - for standard input")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own arguments")


def _help(setting: config.Setting[Any]) -> str:
    """The help of an option that sets a setting: the beginning of the setting's text."""
    text = setting.text.partition(" (`run ")[0]
    return f"{text[0].lower()}{text[1:]} (default: {setting.shown}; {setting.name} in the environment)"


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.dry_run:
        from .command import dry_run  # noqa: PLC0415 - only when it is requested

        sys.exit(dry_run.show(options.form, options.program))
    settings = {
        config.launcher.name: options.on,
        config.function.name: options.function,
        config.workers.name: options.workers,
        config.summary.name: options.summary and os.path.abspath(options.summary),
    }
    os.environ.update({name: value for name, value in settings.items() if value})

    from .command import run as runner  # noqa: PLC0415 - only when there is something to run
    from .install import install  # noqa: PLC0415 - the same

    try:
        config.check()
        if native.is_wanted():
            _refuse_ours(options)
        else:
            report.check()
            session.try_store()
            runner.preload()
        install(options.names)
    except (ValueError, RuntimeError, OSError) as e:
        parser.exit(2, f"serverless-mp: error: {e}\n")
    if options.form == "module":
        runner.run_module(options.program, options.arguments)
    elif options.form == "code":
        runner.run_code(options.program, options.arguments)
    elif options.program == "-":
        runner.run_standard_input(options.arguments)
    else:
        runner.run_script(options.program, options.arguments)


def _refuse_ours(options: argparse.Namespace) -> None:
    for name in ("workers", "summary", "function"):
        if getattr(options, name):
            message = f"--{name} is for workers of ours, and native processes are CPython's own: use --on local or --on lambda"
            raise ValueError(message)


def _examine(options: argparse.Namespace) -> int:
    from .command import doctor  # noqa: PLC0415 - not needed to run a program

    # The checks must see the settings of a run on Lambda.
    os.environ.update({config.launcher.name: "lambda", config.function.name: options.function})
    here = doctor.show(doctor.local())
    if options.local:
        return here
    return max(here, _call_account(options))


def _call_account(options: argparse.Namespace) -> int:
    try:
        from .deploy import commands  # noqa: PLC0415 - boto3, which a run does not need
    except ModuleNotFoundError as e:
        sys.stderr.write(f"serverless-mp: {options.command} needs {e.name}: pip install 'serverless_mp[aws]'\n")
        return 1
    return commands.call(options)


if __name__ == "__main__":
    sys.argv[0] = "serverless-mp"
    main()

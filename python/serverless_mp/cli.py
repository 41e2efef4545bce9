"""The command `serverless-mp`."""

from __future__ import annotations

import argparse
import os
import sys

from . import config, summary


def main(argv: list[str] | None = None) -> None:
    """`serverless-mp run [--summary FILE] (script.py | -m module) [arguments]`."""
    parser = argparse.ArgumentParser(prog="serverless-mp", description="Python's multiprocessing, without walls.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="run a Python program whose multiprocessing is ours",
        usage="serverless-mp run [--summary FILE] (script.py | -m module) [arguments ...]",
    )
    run.add_argument("--summary", metavar="FILE", help="write to FILE, as JSON, which processes ran, where and how")
    run.add_argument("-m", dest="module", action="store_true", help="the program is a module, as for python -m")
    run.add_argument("program", help="the script, or with -m the module")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own arguments")
    options = parser.parse_args(argv)
    if options.summary:
        os.environ[summary.VARIABLE] = os.path.abspath(options.summary)
    try:
        config.check()
    except ValueError as e:
        parser.error(str(e))

    from . import run as runner  # noqa: PLC0415 - only when there is something to run
    from .install import install  # noqa: PLC0415 - the same

    install()
    if options.module:
        runner.run_module(options.program, options.arguments)
    else:
        runner.run_script(options.program, options.arguments)


if __name__ == "__main__":
    sys.argv[0] = "serverless-mp"
    main()

"""The seed by which this interpreter hashes texts.

A process that forks must hash as the program does: objects keep hashes, in attributes of their own, and would not be found by
equal ones. An interpreter does not tell its seed, so the command `run` chooses one, and starts the program's interpreter again
before anything else is imported. The program sees nothing of it in its environment.
"""

import os
import sys

_VARIABLE = "PYTHONHASHSEED"
# The seed that the command has chosen, and the value of the variable before, if it had one.
_OF_COMMAND = "SERVERLESS_MP_HASH_SEED"
_COMMANDS = ("serverless-mp", "serverless_mp", "serverless_mp.cli")
# The options of the interpreter that take a value, which may be the next argument.
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")
_seed: str | None = None


def _choose() -> None:
    """Takes over the seed that was chosen for this interpreter. The command `run` starts again with one, unless the user has
    set one.
    """
    global _seed
    before = os.environ.get(_VARIABLE)
    if _OF_COMMAND in os.environ:
        _seed, _, kept = os.environ.pop(_OF_COMMAND).partition(" ")
        if kept:
            os.environ[_VARIABLE] = kept
        else:
            os.environ.pop(_VARIABLE, None)
    elif before in (None, "", "random") and not sys.flags.ignore_environment and is_run():
        seed = str(int.from_bytes(os.urandom(4), "little") or 1)
        environment = {**os.environ, _VARIABLE: seed, _OF_COMMAND: f"{seed} {before or ''}"}
        # The program goes on without a known seed if this fails.
        try:  # noqa: SIM105 - contextlib is not loaded yet
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - this interpreter
        except OSError:
            pass


def variables() -> dict[str, str]:
    """The variables with which another interpreter of this package gets the same seed."""
    return {} if _seed is None else {_VARIABLE: _seed, _OF_COMMAND: _seed}


def is_run() -> bool:
    """Whether this interpreter runs the command itself, to run a program, and not a debugger that does so."""
    place = len(sys.orig_argv) - len(sys.argv)
    if sys.argv[1:2] != ["run"] or place < 1 or not sys.executable:
        return False
    command = sys.orig_argv[place].removeprefix("-m")
    options = sys.orig_argv[1:place]
    if options[-1:] == ["-m"]:
        options.pop()
    while options:
        option = options.pop(0)
        if option in _WITH_VALUE:
            del options[:1]
        elif not option.startswith("-") or option.startswith(("-c", "-m")):
            return False
    return os.path.basename(command) in _COMMANDS


_choose()

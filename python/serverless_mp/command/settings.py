"""`serverless-mp settings`: the environment variables that are read, their current values, and their valid values."""

from __future__ import annotations

import os
import sys
import textwrap

from serverless_mp import config

_WIDTH = 100


def show() -> int:
    """Prints the table. Returns the exit status: 1 if a variable cannot be used, else 0."""
    is_good = True
    for setting in config.SETTINGS:
        value = os.environ.get(setting.name)
        state = (
            ""
            if not value
            else f", now {config.place(value) if setting in {config.redis_url, config.function_redis_url} else value}"
        )
        sys.stdout.write(f"{setting.name} (default: {setting.shown}{state})\n")
        sys.stdout.write(textwrap.indent(textwrap.fill(setting.text, _WIDTH), "    ") + "\n")
        try:
            setting()
        except ValueError as e:
            is_good = False
            sys.stdout.write(f"    {e}\n")
    for problem in config.unknown():
        is_good = False
        sys.stdout.write(f"{problem}\n")
    return 0 if is_good else 1

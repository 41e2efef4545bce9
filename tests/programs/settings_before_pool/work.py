"""The work, which looks everything up in the settings."""

import settings
from settings import TABLE

COUNT = 0


def one(item):
    with settings.lock:
        settings.done.value += 1
    print(item, end="", file=settings.log_file)
    return (
        settings.VERBOSE,
        sorted(TABLE.items()),
        settings.registry.names,
        item * settings.FACTOR,
        COUNT,
        TABLE is settings.TABLE,
    )

"""Sets globals of its modules from the command line, then makes a pool: a pattern of programs that fork."""

import argparse
import multiprocessing

import settings
import work
from settings import NAMES, Colour, Reader


def look():
    print(NAMES is settings.NAMES, Reader().names, Colour.RED)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--factor", type=int, default=2)
    options = parser.parse_args(["--verbose", "--factor", "5"])
    settings.VERBOSE = options.verbose
    settings.FACTOR = options.factor
    settings.TABLE["from"] = "main"
    settings.registry.names.append("late")
    work.COUNT = 41
    work.Limits.rows = 9
    work.Limits.seen.append("late")
    work.score = lambda item: item * 1000
    work.LEVEL = 5
    NAMES.append("appended")
    print(work.one(0))
    process = multiprocessing.Process(target=look)
    process.start()
    process.join()
    with multiprocessing.Pool(2) as pool:
        for row in pool.map(work.one, range(3)):
            print(row)
    print("done", settings.done.value)


main()

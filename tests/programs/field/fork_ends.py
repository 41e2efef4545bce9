"""Streams that no executed process inherits, exit codes that are no C integers, and a main module that ends a process."""

import multiprocessing as mp
import os
import sys

if __name__ != "__main__":
    sys.exit(5)


def report():
    print("in the worker", sys.stdout is not None and sys.stderr is not None, flush=True)


def main():
    for fd in (0, 1, 2):
        os.set_inheritable(fd, False)
    context = mp.get_context("fork")
    for target, args in ((report, ()), (sys.exit, (1 << 40,)), (sys.exit, (-(1 << 31) - 1,)), (sys.exit, ((1 << 31) - 1,))):
        process = context.Process(target=target, args=args)
        process.start()
        process.join()
        print(process.exitcode, flush=True)
    process = mp.get_context("spawn").Process(target=report)
    process.start()
    process.join()
    print(process.exitcode)


if __name__ == "__main__":
    main()

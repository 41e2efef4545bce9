"""A module that only the program's own machine has."""

import multiprocessing
import os

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    import only_at_home  # noqa: F401


def nothing():
    pass


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    process = multiprocessing.Process(target=nothing)
    process.start()
    process.join()
    print("code", process.exitcode)

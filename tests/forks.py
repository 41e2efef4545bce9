"""A child of the test's own `os.fork()`."""

import os


def fork(body):
    """Runs a function in a child of `os.fork()`; returns a function that waits for its end."""
    child = os.fork()
    if child == 0:
        try:
            body()
        finally:
            os._exit(0)
    return lambda: os.waitpid(child, 0)

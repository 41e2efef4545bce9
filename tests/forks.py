"""A child of the test's own `os.fork()`."""

import os
import traceback


def fork(body):
    """Runs a function in a child of `os.fork()`, which never returns to the test. Returns a function that waits for its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            body()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def ended():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    return ended

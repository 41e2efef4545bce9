"""A pool whose workers fail while they start."""

import multiprocessing
import os

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    raise RuntimeError("not here")

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    with multiprocessing.Pool(2) as pool:
        for call in (lambda: pool.map(abs, range(9)), lambda: pool.apply(abs, [1]), lambda: list(pool.imap(abs, range(3)))):
            try:
                print(call())
            except multiprocessing.ProcessError as e:
                print(e)

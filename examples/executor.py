"""A library that imports multiprocessing itself (here concurrent.futures), after `install()`.

    python examples/executor.py

Prints:

    [False, True, True, False]
"""

import serverless_mp

serverless_mp.install()

from concurrent.futures import ProcessPoolExecutor  # noqa: E402 - after the installation


def is_prime(n):
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as executor:
        print(list(executor.map(is_prime, [1, 97, 101, 121])))

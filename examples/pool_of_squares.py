"""A pool, with `import serverless_mp as multiprocessing`.

    python examples/pool_of_squares.py

Prints:

    [0, 1, 4, 9, 16, 25, 36, 49]
"""

import serverless_mp as multiprocessing


def square(n):
    return n * n


if __name__ == "__main__":
    with multiprocessing.Pool(4) as pool:
        print(pool.map(square, range(8)))

"""tqdm's map over processes."""

from tqdm.contrib.concurrent import process_map


def cube(n):
    return n**3


if __name__ == "__main__":
    print(process_map(cube, range(8), max_workers=2, chunksize=2, disable=True))

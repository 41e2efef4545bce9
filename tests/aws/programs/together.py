"""A barrier with more parties than processes that can run at once."""

import multiprocessing
import sys
from multiprocessing import connection


def wait(barrier):
    barrier.wait()


if __name__ == "__main__":
    parties = int(sys.argv[1])
    barrier = multiprocessing.Barrier(parties)
    processes = [multiprocessing.Process(target=wait, args=(barrier,)) for _ in range(parties)]
    for process in processes:
        process.start()
    connection.wait([process.sentinel for process in processes])
    barrier.abort()
    for process in processes:
        process.join()
    print(sorted(process.exitcode for process in processes))

"""Several processes receive the same large argument, and report whether it is right."""

import multiprocessing

BIG = bytes(range(256)) * 20_000


def check(data, number, results):
    results.put((number, hash(data) == hash(bytes(range(256)) * 20_000), len(data)))


if __name__ == "__main__":
    results = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=check, args=(BIG, n, results)) for n in range(6)]
    for process in processes:
        process.start()
    print(sorted(results.get() for _ in processes))
    for process in processes:
        process.join()

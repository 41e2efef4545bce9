"""Processes that take work from one queue and put results into another.

    serverless-mp run examples/work_queue.py

Prints:

    {'one': 3, 'three': 5, 'two': 3}
"""

import multiprocessing


def measure(words, lengths):
    for word in iter(words.get, None):
        lengths.put((word, len(word)))


if __name__ == "__main__":
    words, lengths = multiprocessing.Queue(), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=measure, args=(words, lengths)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for word in ["one", "two", "three", *[None] * 3]:
        words.put(word)
    print(dict(sorted(lengths.get() for _ in range(3))))
    for worker in workers:
        worker.join()

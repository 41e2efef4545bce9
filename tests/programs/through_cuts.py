"""Numbered items through a queue, and hand-overs of a lock: nothing is lost or doubled, and no token is lost."""

import multiprocessing
import sys


def produce(queue, first, last):
    for i in range(first, last):
        queue.put(i)


def consume(queue, results):
    got = []
    while (item := queue.get()) is not None:
        got.append(item)
    results.put(got)


def hand_over(lock, counter, n):
    for _ in range(n):
        with lock:
            counter.value += 1


def main(items, hand_overs):
    queue, results = multiprocessing.Queue(), multiprocessing.SimpleQueue()
    half = items // 2
    producers = [multiprocessing.Process(target=produce, args=(queue, first, first + half)) for first in (0, half)]
    consumers = [multiprocessing.Process(target=consume, args=(queue, results)) for _ in range(2)]
    for process in producers + consumers:
        process.start()
    for process in producers:
        process.join()
    for _ in consumers:
        queue.put(None)
    parts = [results.get() for _ in consumers]
    for process in consumers:
        process.join()
    got = parts[0] + parts[1]
    lost, doubled = items - len(set(got)), len(got) - len(set(got))
    disorder = sum(a > b for part in parts for low in (True, False) for a, b in pairs([i for i in part if (i < half) == low]))
    print(f"items {items} lost {lost} doubled {doubled} out of order {disorder}")

    lock, counter = multiprocessing.Lock(), multiprocessing.RawValue("q", 0)
    processes = [multiprocessing.Process(target=hand_over, args=(lock, counter, hand_overs // 4)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    free = lock.acquire(timeout=5)
    print(f"hand-overs {hand_overs} counted {counter.value} token {'there' if free else 'gone'}")


def pairs(items):
    return zip(items, items[1:], strict=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

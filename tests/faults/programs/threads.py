"""Threads of two processes count under one lock, until a line arrives."""

import multiprocessing
import threading


def count(total, has_ended, counts):
    """Counts in four threads; puts the number of steps that they have made."""
    steps = []

    def work():
        made = 0
        while not has_ended.is_set():
            with total.get_lock():
                total.value += 1
            made += 1
        steps.append(made)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.put(sum(steps))


if __name__ == "__main__":
    total, has_ended, counts = multiprocessing.Value("q"), multiprocessing.Event(), multiprocessing.Queue()
    processes = [multiprocessing.Process(target=count, args=(total, has_ended, counts)) for _ in range(2)]
    for process in processes:
        process.start()
    print("started", flush=True)
    input()
    has_ended.set()
    steps = counts.get() + counts.get()
    for process in processes:
        process.join()
    print(steps > 0, total.value - steps)

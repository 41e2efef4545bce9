"""Processes that share queues, a lock and a value, and end together: all as they should."""

import multiprocessing as mp

PROCESSES = 100


def work(i, first, second, lock, total, end):
    first.put(i)
    with lock:
        total.value += 1
    second.put(i)
    end.wait()


if __name__ == "__main__":
    first, second, lock, total, end = mp.Queue(), mp.Queue(), mp.Lock(), mp.Value("i", 0), mp.Event()
    processes = [mp.Process(target=work, args=(i, first, second, lock, total, end)) for i in range(PROCESSES)]
    for process in processes:
        process.start()
    got = [sorted(queue.get() for _ in processes) for queue in (first, second)]
    end.set()
    for process in processes:
        process.join()
    print(got == [[*range(PROCESSES)]] * 2, total.value, {process.exitcode for process in processes})

"""Operations whose effect would show if they ran twice, each after a line on standard input."""

import multiprocessing

from shared import shared


def ready():
    print("ready", flush=True)
    input()


if __name__ == "__main__":
    queue, semaphore, lock = multiprocessing.SimpleQueue(), *shared(multiprocessing.Semaphore(0), multiprocessing.Lock())
    for _ in range(3):
        queue.put("warm")
        queue.get()
    semaphore.release()
    semaphore.acquire()
    ready()
    queue.put("one")
    got = []
    while queue._reader.poll(0.5):
        got.append(queue.get())
    ready()
    semaphore.release()
    taken = 0
    while semaphore.acquire(timeout=0.5):
        taken += 1
    ready()
    lock.acquire()
    lock.release()
    print(f"put once, got {got}; released once, acquired {taken} times; taken again {lock.acquire(timeout=2)}")

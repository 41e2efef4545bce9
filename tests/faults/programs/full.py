"""Puts while the store has no memory."""

import multiprocessing

from shared import shared

if __name__ == "__main__":
    queue = multiprocessing.Queue()
    queue.put("first")
    print("begun", flush=True)
    input()
    for number in range(20):
        queue.put(number)
    try:
        shared(multiprocessing.Lock()).acquire()
    except OSError as e:
        print(type(e).__name__, e, flush=True)
    input()
    queue.put("last")
    got = []
    while not got or got[-1] != "last":
        got.append(queue.get())
    print("got", got)
    queue.close()
    queue.join_thread()

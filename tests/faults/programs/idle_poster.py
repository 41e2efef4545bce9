"""A worker puts an item, and then does not use the store for a long time."""

import multiprocessing
import sys
import time


def work(queue, pipe):
    queue.put("warm")
    pipe.recv()
    queue.put("a")
    time.sleep(30)  # killed before that


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(queue, receiver), daemon=True)
    process.start()
    queue.get()
    print("ready", flush=True)
    input()
    sender.send("go")
    print(queue.get(timeout=15), flush=True)
    sys.stdout.flush()
    process.kill()

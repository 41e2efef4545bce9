"""Gets an item from a queue for each line on standard input."""

import multiprocessing

from serverless_mp import _core


def get(queue):
    try:
        print(queue.get(), flush=True)
    except ValueError as e:
        print(type(e).__name__, e, flush=True)


if __name__ == "__main__":
    queue = multiprocessing.SimpleQueue()
    queue.put({"password": "of a queue"})
    session = _core.session_info()["session"]
    print("key", f"smp:{{{session}.{queue._reader._handle.id}}}:q{queue._reader._handle.end}", flush=True)
    for _ in range(3):
        input()
        get(queue)
    input()
    get(queue)
    get(queue)

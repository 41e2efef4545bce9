"""One lock, after a line on standard input."""

import multiprocessing

if __name__ == "__main__":
    lock = multiprocessing.Lock()
    with lock:
        pass
    print("ready", flush=True)
    input()
    try:
        print(lock.acquire())
    except ConnectionError as e:
        print(e, flush=True)

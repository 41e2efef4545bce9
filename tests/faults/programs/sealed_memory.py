"""Another process attaches to shared memory and reads it, for each line on standard input."""

import sys
from multiprocessing import Pool, shared_memory

SIZE = 1 << 17


def read(name):
    block = shared_memory.SharedMemory(name)
    try:
        return bytes(block.buf[:6]), bytes(block.buf[SIZE - 6 : SIZE])
    finally:
        block.close()


def main():
    block = shared_memory.SharedMemory(create=True, size=SIZE)
    block.buf[:6] = block.buf[SIZE - 6 :] = b"secret"
    with Pool(1) as pool:
        for _ in sys.stdin:
            try:
                print(*pool.apply(read, (block.name,)), flush=True)
            except ValueError as e:
                print(type(e).__name__, e, flush=True)
    block.close()
    block.unlink()


if __name__ == "__main__":
    main()

"""asyncio: a coroutine waits for a queue and a process, while other coroutines run.

    python examples/async_queue.py

Prints:

    got 42
    ended with 0
"""

import asyncio

import serverless_mp as multiprocessing
from serverless_mp import aio


def answer(queue):
    queue.put(42)


async def main():
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=answer, args=(queue,))
    process.start()
    print("got", await aio.get(queue))
    await aio.join(process)
    print("ended with", process.exitcode)


if __name__ == "__main__":
    asyncio.run(main())

"""asyncio in the program, processes for CPU-bound work: executors, sentinels and connections in the loop."""

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def square(n):
    return n * n


def echo(connection):
    while (message := connection.recv()) is not None:
        connection.send(message.upper())


async def main():
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as executor:
        print(await asyncio.gather(*(loop.run_in_executor(executor, square, n) for n in range(5))))
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=echo, args=(there,), daemon=True)
    process.start()
    there.close()
    readable, ended = asyncio.Event(), asyncio.Event()
    loop.add_reader(here.fileno(), readable.set)
    for word in ("one", "two"):
        here.send(word)
        await readable.wait()
        print(here.recv())
        readable.clear()
    loop.remove_reader(here.fileno())
    loop.add_reader(process.sentinel, ended.set)
    here.send(None)
    await asyncio.wait_for(ended.wait(), 30)
    loop.remove_reader(process.sentinel)
    process.join()
    print("exit code", process.exitcode)


if __name__ == "__main__":
    asyncio.run(main())

"""A proxy between a program and its store that cuts connections, or is slow.

`python proxy.py LISTEN TARGET SECONDS RATE` takes two UNIX socket paths, the mean time between two cuts (0: never), and how
many bytes a second each connection carries in each direction (0: no limit). A cut closes a random connection in both
directions, in the middle of a transfer. A line `down` on standard input cuts all connections, and new ones are refused until a
line `up`. The proxy prints `ready`, and when standard input closes, the number of its random cuts.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys


class Proxy:
    """All connections, and the number of random cuts."""

    def __init__(self, target: str, rate: float) -> None:
        self.target, self.rate = target, rate
        self.open: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.cuts = 0
        self.is_up = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self.target)
        except OSError:
            writer.close()
            return
        if not self.is_up:
            writer.close()
            there_writer.close()
            return
        pair = (writer, there_writer)
        self.open.add(pair)
        await asyncio.gather(self.pump(reader, there_writer), self.pump(there_reader, writer))
        self.open.discard(pair)

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copies bytes in one direction until an end is closed."""
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
        writer.close()

    async def cut(self, mean: float) -> None:
        """Closes connections at random times."""
        while mean:
            await asyncio.sleep(random.expovariate(1 / mean))
            if self.open:
                self.cuts += 1
                for side in random.choice(list(self.open)):
                    side.transport.abort()

    async def obey(self) -> None:
        """Obeys lines until standard input closes."""
        while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
            self.is_up = line.strip() == "up"
            for side in [side for pair in self.open if not self.is_up for side in pair]:
                side.transport.abort()


async def main(listen: str, target: str, mean: float, rate: float) -> None:
    """Serves until standard input closes."""
    proxy = Proxy(target, rate)
    server = await asyncio.start_unix_server(proxy.serve, listen)
    cutter = asyncio.create_task(proxy.cut(mean))
    print("ready", flush=True)
    await proxy.obey()
    cutter.cancel()
    server.close()
    print(proxy.cuts, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))

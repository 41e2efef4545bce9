"""What a zygote is asked for, and the zygotes that it hands requests over to."""

from __future__ import annotations

import os
import signal
import socket
import time
from pickle import dumps, loads
from typing import Any

from serverless_mp.local.launcher import INT, receive

# How many seconds workers wait for a zygote that imports for them.
PATIENCE = 3


class Request:
    """One worker that is asked for."""

    def __init__(self, connection: socket.socket, wanted: dict[str, Any], fds: list[int]) -> None:
        self.connection, self.wanted, self.fds = connection, wanted, fds

    def is_given_up(self) -> bool:
        """Whether nobody waits for it any more."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Here; another process may have it."""
        self.connection.close()
        for fd in self.fds:
            os.close(fd)


class Preloaded:
    """A preloaded zygote, as the first one sees it."""

    def __init__(self, environment: dict[str, str], handoff: socket.socket, pid: int) -> None:
        # What its imports have seen; its workers have the same.
        self.environment = environment
        self.socket, self.pid = handoff, pid
        self.last = time.monotonic() + PATIENCE
        self.is_ready = self.is_gone = self.is_reaped = False
        # Requests that came while it was importing.
        self.waiting: list[Request] = []

    def close(self) -> None:
        """In a child, whose it is not; nor are the requests that wait for it."""
        self.socket.close()
        for request in self.waiting:
            request.close()

    def is_late(self) -> bool:
        """Whether its requests have waited for long enough."""
        return time.monotonic() > self.last

    def end(self) -> None:
        """With the first one; its workers end before it."""
        if self.is_reaped:
            return
        if not self.is_ready:  # whatever it is doing
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def hand_over(self, request: Request) -> None:
        """Has it start the worker. Raises OSError if it is gone."""
        data = dumps(request.wanted)
        socket.send_fds(self.socket, [INT.pack(len(data))], [request.connection.fileno(), *request.fds])
        self.socket.sendall(data)
        request.close()


def receive_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request, and the descriptors that came with it."""
    head, fds, _, _ = socket.recv_fds(connection, INT.size, 1024)
    return loads(receive(connection, INT.unpack(head)[0])), fds  # noqa: S301 - from our own user's program

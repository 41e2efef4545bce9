"""The requests to a zygote, and the preloaded zygotes to which it hands requests over."""

from __future__ import annotations

import os
import signal
import socket
import time
from pickle import dumps, loads
from typing import Any, TypeAlias

from serverless_mp.local.launcher import INT, receive, receive_with_descriptors

# The seconds that requests wait for a zygote that is still importing.
PRELOAD_TIMEOUT = 3
# The same for workers that fork, and in a function, where it imports alone: they would need this time themselves, unless an
# import hangs.
IMPORT_TIMEOUT = 20

_MOST_FDS = 1024

# On this machine: whether it is for processes that fork, apart from others, and the environment during its imports. In a
# function: the state of its program. Its workers have the same.
Kind: TypeAlias = tuple[bool, dict[str, str]] | str


class Request:
    """A request for one worker."""

    def __init__(self, connection: socket.socket, wanted: dict[str, Any], fds: list[int]) -> None:
        self.connection, self.wanted, self.fds = connection, wanted, fds
        # The packages to preload: on this machine with the first request of a program, and before the first one for a process
        # that forks, which may have a preloaded zygote apart from others.
        self.preload = wanted.pop("preload", None)
        self.is_apart = wanted.get("apart", False)
        # Whether no worker is wanted yet.
        self.imports_only = wanted.get("imports_only", False)
        # In a function: the state of the program, '' if it preloads nothing. None for any other process.
        self.state: str | None = wanted.pop("state", None)

    @property
    def kind(self) -> Kind:
        """What the requests for one preloaded zygote have in common."""
        return (self.is_apart, self.wanted["environment"]) if self.state is None else self.state

    def is_given_up(self) -> bool:
        """Whether the caller has stopped waiting for the worker."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Closes the descriptors here; another process may still have them."""
        self.connection.close()
        for fd in self.fds:
            os.close(fd)


class Preloaded:
    """A preloaded zygote, as seen by the first zygote."""

    def __init__(self, kind: Kind, handoff: socket.socket, pid: int, timeout: float, waiting: list[Request]) -> None:
        self.kind = kind
        self.socket, self.pid = handoff, pid
        self.last = time.monotonic() + timeout
        self.is_ready = self.is_gone = self.is_reaped = False
        # In a function: whether the current invocation has used it.
        self.is_used = False
        # Requests that wait until it has imported everything.
        self.waiting = waiting

    def close(self) -> None:
        """In a child: closes its copies of the socket and of the waiting requests, which belong to the parent."""
        self.socket.close()
        for request in self.waiting:
            request.close()

    def is_late(self) -> bool:
        """Whether its requests have waited long enough."""
        return time.monotonic() > self.last

    def end(self) -> None:
        """Ends it together with the first zygote. Its workers end before it."""
        if not self.is_ready:  # whatever it is doing
            self.kill()
        elif not self.is_reaped:
            os.waitpid(self.pid, 0)

    def kill(self) -> None:
        """Ends it at once."""
        if not self.is_reaped:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def hand_over(self, request: Request) -> None:
        """Makes it start the worker. Raises OSError if it is gone."""
        data = dumps(request.wanted)
        socket.send_fds(self.socket, [INT.pack(len(data))], [request.connection.fileno(), *request.fds])
        self.socket.sendall(data)
        self.is_used = True
        request.close()


def receive_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request, and the descriptors that came with it."""
    head, fds = receive_with_descriptors(connection, INT.size, _MOST_FDS)
    return loads(receive(connection, INT.unpack(head)[0])), fds  # noqa: S301 - from our own user's program

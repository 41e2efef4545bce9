"""Runs a private store, and ends it with the process that asked for it, however that process ends.

Run by path with `python -I -S`: `server_guard.py SERVER DIRECTORY`. It reads from standard input the length of the
configuration in four bytes and the configuration, so that no command line contains the password. When standard input closes,
the server ends. The guard continues in a process that is not a descendant of its caller, and closes its standard output when
everything has ended.
"""

import os
import select
import sys

# What Valkey and all versions of Redis log, in different words and cases.
_READY = b"ready to accept connections"
# Seconds without a word of a server that is not ready yet.
_PATIENCE = 60


def main() -> None:  # noqa: C901 - one thing after another
    """Starts the server, prints `ready`, and waits for the end of either side."""
    server, directory = sys.argv[1:3]
    length = int.from_bytes(_read(4), "big")
    config = _read(length)
    if os.fork():
        os._exit(0)
    config_r, config_w = os.pipe()
    log_r, log_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(config_r, 0)
        os.dup2(log_w, 1)
        os.dup2(log_w, 2)
        os.closerange(3, 256)
        _die_with_parent()
        os.execv(server, [server, "-"])  # noqa: S606 - no shell wanted
    os.close(config_r)
    os.close(log_w)
    os.write(config_w, config)
    os.close(config_w)
    log, ready = b"", False
    while True:
        readable, _, _ = select.select([0, log_r], [], [], None if ready else _PATIENCE)
        if 0 in readable or not readable:
            break
        piece = os.read(log_r, 65536)
        if not piece:
            break
        if not ready:
            log += piece
            ready = _READY in log.lower()
            if ready:
                _say(b"ready\n")
    if not ready:
        _say(log[-1000:])
    try:  # noqa: SIM105 - avoids an import
        os.kill(pid, 9)
    except ProcessLookupError:
        pass
    os.waitpid(pid, 0)
    for folder, _, names in os.walk(directory, topdown=False):
        for remove, path in (*((os.unlink, f"{folder}/{name}") for name in names), (os.rmdir, folder)):
            try:  # noqa: SIM105 - as above
                remove(path)
            except OSError:
                pass  # the zygote removes it as well


def _die_with_parent() -> None:
    """On Linux: the server ends with this process, even if this process is killed."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - in the child only, where it delays no other process

        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL


def _say(answer: bytes) -> None:
    try:  # noqa: SIM105 - as above
        os.write(1, answer)
    except OSError:
        pass  # the caller has ended, or given up


def _read(length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = os.read(0, length - len(data))
        if not piece:
            sys.exit(1)
        data += piece
    return data


if __name__ == "__main__":
    main()

"""A thread that is nothing but a function of C receives from a socket into a shared array, while locks are released."""

import _thread
import multiprocessing
import socket
import subprocess
import sys

import numpy as np

SIZE = 4 << 20
FEED = """
import socket, sys, time

sender = socket.socket(fileno=int(sys.argv[1]))
data = bytes(range(1, 251)) * (int(sys.argv[2]) // 250 + 1)
for start in range(0, int(sys.argv[2]), 512):
    sender.sendall(data[start : min(start + 512, int(sys.argv[2]))])
    time.sleep(0)
sender.recv(1)
"""

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    lock, table = context.Lock(), context.RawArray("B", SIZE)
    numbers = np.frombuffer(table, np.uint8)
    numbers[:] = 255
    # From now on the array and the lock are shared.
    process = context.Process(target=len, args=((table, lock),))
    process.start()
    process.join()
    here, there = socket.socketpair()
    _thread.start_new_thread(here.recv_into, (memoryview(numbers), SIZE, socket.MSG_WAITALL))
    command = [sys.executable, "-c", FEED, str(there.fileno()), str(SIZE)]
    feed = subprocess.Popen(command, pass_fds=[there.fileno()])
    while numbers[-1] == 255:
        with lock:
            pass
    here.sendall(b".")
    feed.wait()
    wanted = np.frombuffer(bytes(range(1, 251)) * (SIZE // 250 + 1), np.uint8, SIZE)
    print("lost", int((wanted != numbers).sum()))

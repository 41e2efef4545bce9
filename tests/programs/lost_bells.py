"""Waits for connections while the store cuts the subscribers' connections: `lost_bells.py PORT PASSWORD`."""

import socket
import sys
import threading

import serverless_mp
from serverless_mp.connection import wait

CONNECTIONS, ROUNDS = 20, 60


def packed(*words):
    return f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)


def command(port, password, *words):
    with socket.create_connection(("127.0.0.1", port)) as store:
        store.sendall((packed("AUTH", password) + packed(*words)).encode())
        with store.makefile() as answers:
            assert answers.readline() == "+OK\n"
            return answers.readline()


def send_all(writers, cut):
    for number in range(ROUNDS):
        if number % 4 == 0:
            cut.put(number)
        writers[number % CONNECTIONS].send(number)


if __name__ == "__main__":
    port, password = int(sys.argv[1]), sys.argv[2]
    context = serverless_mp.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(CONNECTIONS)]
    readers = [reader for reader, _ in pipes]
    cuts = context.SimpleQueue()
    process = context.Process(target=send_all, args=([writer for _, writer in pipes], cuts))
    assert wait(readers, 0) == []
    killed = []

    def cut_all():
        for _ in range(0, ROUNDS, 4):
            cuts.get()
            killed.append(command(port, password, "CLIENT", "KILL", "TYPE", "pubsub"))

    thread = threading.Thread(target=cut_all)
    thread.start()
    process.start()
    heard = []
    while len(heard) < ROUNDS:
        heard += [reader.recv() for reader in wait(readers, 60)]
    process.join()
    thread.join()
    assert sorted(heard) == list(range(ROUNDS))
    assert any(answer != ":0\n" for answer in killed), killed
    print("all heard")

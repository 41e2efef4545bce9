"""A pipeline with back-pressure, a joinable queue, one wait over pipes, sockets and processes, and connections in queues."""

import multiprocessing
import socket
from multiprocessing.connection import Client, Listener, wait


def produce(queue):
    for n in range(50):
        queue.put(n)
    queue.put(None)


def consume(tasks, results):
    while (task := tasks.get()) is not None:
        results.put(task * 2)
        tasks.task_done()
    tasks.task_done()


def talk(inbox):
    connection = inbox.get()
    connection.send("through a queue")
    connection.close()


def answer(inbox):
    with inbox.get() as connected:
        connected.sendall(b"from the other process")


def dial(address, key):
    with Client(address, authkey=key) as connection:
        connection.send_bytes(b"0123456789")
        print(connection.recv())


if __name__ == "__main__":
    narrow = multiprocessing.Queue(2)
    producer = multiprocessing.Process(target=produce, args=(narrow,))
    producer.start()
    print(sum(iter(narrow.get, None)))
    producer.join()

    tasks, results = multiprocessing.JoinableQueue(), multiprocessing.SimpleQueue()
    consumers = [multiprocessing.Process(target=consume, args=(tasks, results)) for _ in range(2)]
    for consumer in consumers:
        consumer.start()
    for n in range(10):
        tasks.put(n)
    tasks.join()
    print(sorted(results.get() for _ in range(10)), results.empty())
    for _ in consumers:
        tasks.put(None)

    inbox = multiprocessing.Queue()
    here, there = multiprocessing.Pipe()
    talker = multiprocessing.Process(target=talk, args=(inbox,))
    talker.start()
    inbox.put(there)
    a, b = socket.socketpair()
    pending = {here: "pipe", b: "socket", talker.sentinel: "process"}
    seen = []
    a.send(b"x")
    while pending:
        for ready in wait(list(pending)):
            seen.append(pending.pop(ready))
    print(sorted(seen), here.recv())
    talker.join()

    ours, theirs = socket.socketpair()
    answerer = multiprocessing.Process(target=answer, args=(inbox,))
    answerer.start()
    inbox.put(theirs)
    print(ours.recv(100))
    answerer.join()

    with Listener(("127.0.0.1", 0), authkey=b"key") as listener:
        dialer = multiprocessing.Process(target=dial, args=(listener.address, b"key"))
        dialer.start()
        with listener.accept() as connection:
            buffer = bytearray(4)
            try:
                connection.recv_bytes_into(buffer)
            except multiprocessing.BufferTooShort as e:
                print("too short", e.args[0])
            connection.send("got it")
        dialer.join()
    for consumer in consumers:
        consumer.join()

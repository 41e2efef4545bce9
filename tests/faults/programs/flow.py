"""Numbered items through every kind of object: nothing may be lost, doubled or reordered."""

import multiprocessing
import sys
import threading


def filled(i):
    """A message with a number; some are too big for an item, or for one piece."""
    size = 2_200_000 if i % 64 == 9 else 150_000 if i % 16 == 5 else 0
    return i, bytes([i % 251]) * size


def number_of(message):
    """Checks that a message is complete; returns its number."""
    assert message == filled(message[0]), "a message has changed"
    return message[0]


def produce(number, count, queue, connection, lock, total, array, gate):
    for i in range(count):
        queue.put((number, filled(i)))
        connection.send(filled(i))
        with lock:
            total.value += 1
            array[i % len(array)] += 1
        gate.acquire()
        gate.release()
    queue.put((number, None))
    connection.send(None)
    connection.close()


def relay(queue, out, producers):
    ended = 0
    while ended < producers:
        item = queue.get()
        ended += item[1] is None
        out.put(item)


def square(message):
    n = number_of(message)
    return filled(n * n)


def check(name, found, count):
    expected = list(range(count))
    lost, doubled = len(set(expected) - set(found)), len(found) - len(set(found))
    reordered = sum(b < a for a, b in zip(found, found[1:], strict=False))
    print(f"{name}: {count} lost {lost} doubled {doubled} reordered {reordered}", flush=True)


def main(count, producers=2):
    context = multiprocessing.get_context("spawn")
    queue, out = context.Queue(), context.JoinableQueue()
    lock, total, array, gate = (
        context.Lock(),
        context.Value("q", 0, lock=False),
        context.Array("i", 64, lock=False),
        context.Semaphore(1),
    )
    pipes = [context.Pipe(duplex=False) for _ in range(producers)]
    processes = [
        context.Process(target=produce, args=(n, count, queue, pipes[n][1], lock, total, array, gate)) for n in range(producers)
    ]
    processes.append(context.Process(target=relay, args=(queue, out, producers)))
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    print("started", flush=True)

    received = [[] for _ in pipes]

    def receive(number):
        while (item := pipes[number][0].recv()) is not None:
            received[number].append(number_of(item))

    threads = [threading.Thread(target=receive, args=(number,)) for number in range(producers)]
    for thread in threads:
        thread.start()

    queued, ended = [[] for _ in pipes], 0
    while ended < producers:
        number, item = out.get()
        out.task_done()
        ended += item is None
        if item is not None:
            queued[number].append(number_of(item))
    out.join()
    for thread in threads:
        thread.join()
    for process in processes:
        process.join()
    for number in range(producers):
        check("queue", queued[number], count)
        check("pipe", received[number], count)
    print("codes", *(process.exitcode for process in processes))
    print("total", total.value == producers * count, "array", sum(array) == producers * count, flush=True)

    with context.Pool(2) as pool:
        check("pool", [round(number_of(m) ** 0.5) for m in pool.map(square, map(filled, range(count)), chunksize=1)], count)
    with context.Manager() as manager:
        shared = manager.list()
        for i in range(count // 10):
            shared.append(i)
        check("manager", list(shared), count // 10)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""A sender of big messages that waits for a long time until its pipe is read."""

import multiprocessing


def send(connection):
    for number in range(3):
        connection.send_bytes(bytes([number]) * 300_000)


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=send, args=(writer,))
    process.start()
    reader.poll(None)
    print("sent", flush=True)
    input()
    print([reader.recv_bytes() == bytes([number]) * 300_000 for number in range(3)])
    process.join()
    print(process.exitcode)

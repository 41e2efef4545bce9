"""The pattern of the logging cookbook: workers log into a queue, and a listener in the program writes the records."""

import logging
import logging.handlers
import multiprocessing
import sys


def configure(queue):
    root = logging.getLogger()
    root.handlers[:] = [logging.handlers.QueueHandler(queue)]
    root.setLevel(logging.INFO)


def work(queue, number):
    configure(queue)
    log = logging.getLogger(f"worker.{number}")
    log.info("begins with %s", {"number": number})
    log.debug("is not seen")
    try:
        1 / (number - 1)
    except ZeroDivisionError:
        log.exception("failed")


if __name__ == "__main__":
    queue = multiprocessing.Queue(-1)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(processName)s %(message)s"))
    listener = logging.handlers.QueueListener(queue, handler)
    listener.start()
    for number in range(3):
        process = multiprocessing.Process(target=work, args=(queue, number), name=f"p{number}")
        process.start()
        process.join()
    listener.stop()

"""A program with modules of its own, a data file, and a data class in `__main__`."""

import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

import areas
from shapes.square import Square


@dataclass
class Order:
    name: str
    side: float


def work(order, results):
    unit = Path(__file__).with_name("unit.txt").read_text().strip()
    results.put(Order(f"{order.name} in {unit}", areas.area(Square(order.side))))


if __name__ == "__main__":
    multiprocessing.set_start_method(os.environ.get("METHOD", "spawn"))
    results = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=work, args=(Order(f"n{n}", n), results)) for n in range(3)]
    for process in processes:
        process.start()
    for order in sorted((results.get() for _ in processes), key=lambda order: order.side):
        print(order, type(order) is Order)
    for process in processes:
        process.join()
    print([process.exitcode for process in processes])

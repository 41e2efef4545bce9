"""The shape of POET's loop: a spawn context, two managed dictionaries that tasks read with a cache per worker, hundreds of
tasks an iteration, and a table of noise in a shared array that the parent fills and the workers read."""

import ctypes
import functools
import multiprocessing

import numpy as np

TABLE = 20_000
SIZE = 50


def start(thetas, niches, table):
    """Initialises a worker: sets the globals that its tasks use."""
    global shared_thetas, shared_niches, noise
    shared_thetas, shared_niches = thetas, niches
    noise = np.ctypeslib.as_array(table.get_obj())


@functools.lru_cache(maxsize=8)
def theta(key):
    return shared_thetas[key]


@functools.lru_cache(maxsize=8)
def niche(key):
    return shared_niches[key]


class Niche:
    def __init__(self, target):
        self.target = target

    def rollout(self, weights):
        return -float(np.square(weights - self.target).sum())


def evaluate(key, optimizer, offset):
    step = noise[offset : offset + SIZE]
    here = niche(optimizer)
    return offset, here.rollout(theta(key) + 0.1 * step), here.rollout(theta(key) - 0.1 * step)


def main():
    context = multiprocessing.get_context("spawn")
    table = context.Array(ctypes.c_float, TABLE)
    np.ctypeslib.as_array(table.get_obj())[:] = np.random.RandomState(123).randn(TABLE)
    own = np.ctypeslib.as_array(table.get_obj())
    thetas, niches = context.Manager().dict(), context.Manager().dict()
    for number in range(2):
        niches[number] = Niche(np.full(SIZE, number + 1.0))
    state = {number: np.zeros(SIZE) for number in range(2)}
    offsets = np.random.RandomState(5)
    with context.Pool(4, initializer=start, initargs=(thetas, niches, table)) as pool:
        for iteration in range(3):
            pending = []
            for number in range(2):
                key = (number, iteration)
                thetas[key] = state[number]
                picks = offsets.randint(0, TABLE - SIZE, size=100)
                pending.append((number, [pool.apply_async(evaluate, (key, number, int(pick))) for pick in picks]))
            for number, results in pending:
                values = [result.get() for result in results]
                gradient = sum((plus - minus) * own[offset : offset + SIZE] for offset, plus, minus in values)
                state[number] = state[number] + 0.002 * gradient
                print(iteration, number, repr(niches[number].rollout(state[number])))
        pool.close()
        pool.join()


if __name__ == "__main__":
    main()

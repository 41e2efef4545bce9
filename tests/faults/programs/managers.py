"""Starts managers one after the other."""

import multiprocessing

if __name__ == "__main__":
    context, good = multiprocessing.get_context("spawn"), 0
    for _ in range(6):
        with context.Manager() as manager:
            shared = manager.list()
            shared.append(1)
            good += list(shared) == [1]
    print(good, "of 6")

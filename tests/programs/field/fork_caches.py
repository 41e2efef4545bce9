"""What `functools.lru_cache` has kept when a process forks: shared objects, and results of every kind of arguments."""

import functools
import multiprocessing as mp


class Settings:
    level = 0


@functools.lru_cache
def settings():
    return Settings()


@functools.lru_cache(maxsize=4)
def bounded(a, b=1, *, c=2):
    calls.append((a, b, c))
    return [a, b, c]


@functools.lru_cache(maxsize=None, typed=True)
def typed(a, b=1, *, result=2):
    calls.append((a, b, result))
    return [a, b, result]


class Thing:
    @functools.cache  # noqa: B019 - which programs do
    def compute(self, n):
        calls.append(n)
        return n * n

    @staticmethod
    @functools.cache
    def static(n):
        calls.append(n)
        return -n


@functools.cache
def fibonacci(n):
    calls.append(n)
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


calls = []
thing = Thing()


def work():
    print(settings().level, settings() is shared, settings.cache_info().currsize)
    print(bounded(1), bounded("x"), bounded(1, 2), bounded(1, c=3), bounded(7), bounded.cache_info().currsize)
    print(typed(1), typed(1.0), typed("x", result=5), typed(True))
    print(thing.compute(3), thing.compute(4), Thing.static(5), fibonacci(12))
    print(calls)
    calls.clear()
    bounded(1)  # the oldest one, which has gone
    print(calls)


if __name__ == "__main__":
    mp.set_start_method("fork")
    shared = settings()
    shared.level = 3
    bounded(1), bounded("x"), bounded(1, 2), bounded(1, c=3)
    typed(1), typed(1.0), typed("x", result=5)
    thing.compute(3), Thing.static(5), fibonacci(10)
    process = mp.Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)

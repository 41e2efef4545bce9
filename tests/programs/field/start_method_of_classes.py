"""The classes themselves, called without a context, follow the start method that is set, in workers too."""

import multiprocessing
from multiprocessing.managers import BaseManager
from multiprocessing.pool import Pool


class Reader:
    def read(self):
        return number


class Manager(BaseManager):
    pass


Manager.register("Reader", Reader)


def begin(value):
    global number
    number = value


def read_from_a_manager():
    with Pool(1, begin, (3,)) as pool:
        print(pool._ctx.get_start_method(), pool.apply(Reader().read), flush=True)
    manager = Manager()
    manager.start(begin, (5,))
    print(manager._ctx.get_start_method(), manager.Reader().read(), flush=True)
    manager.shutdown()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    number = 1  # not there in workers
    read_from_a_manager()
    process = multiprocessing.Process(target=read_from_a_manager)
    process.start()
    process.join()
    print(process.exitcode)

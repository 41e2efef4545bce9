"""Many processes that each start and join another one."""

import multiprocessing


def nothing():
    pass


def start_one():
    process = multiprocessing.Process(target=nothing)
    process.start()
    process.join()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    codes = []
    for _ in range(40):
        processes = [multiprocessing.Process(target=start_one) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        codes += [process.exitcode for process in processes]
    print(codes.count(0))

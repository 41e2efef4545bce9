"""One process repeatedly writes one byte while another writes many bytes, each under its own lock."""

import multiprocessing

SIZE = 4 << 20


def write_one(array, lock, stop):
    while not stop.is_set():
        with lock:
            array[0] = (array[0] + 1) % 100


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    array, stop = context.RawArray("b", SIZE), context.Event()
    locks = context.Lock(), context.Lock()
    process = context.Process(target=write_one, args=(array, locks[0], stop))
    process.start()
    with locks[1]:
        array[1 << 15 :: 512] = [1] * len(range(1 << 15, SIZE, 512))
    # The release above has published the array.
    stop.set()
    process.join()
    print(process.exitcode, sum(array[1 << 15 :: 512]) == len(range(1 << 15, SIZE, 512)))

"""All objects that multiprocessing builds on semaphores and shared memory, with the named start method."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import managers, shared_memory


def square(x):
    return x * x


def add(lock, total, array, queue, name, words):
    memory = shared_memory.SharedMemory(name=name)
    with lock:
        total.value += 1
        array[0] += 0.5
        memory.buf[0] += 1
        words[1] = "there"
    memory.close()
    queue.put(square(3))


def hold(lock, taken, go_on):
    with lock:
        taken.set()
        go_on.wait(30)


def pass_on(barrier, semaphore, results):
    with semaphore:
        results.put("in")
    results.put(barrier.wait(30) >= 0)


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    memory = shared_memory.SharedMemory(create=True, size=1 << 20)
    words = shared_memory.ShareableList(["here", "....."])
    lock, total, array, queue = context.RLock(), context.Value("i", 0), context.Array("d", 3), context.Queue()
    processes = [context.Process(target=add, args=(lock, total, array, queue, memory.name, words)) for _ in range(3)]
    for process in processes:
        process.start()
    print(sorted(queue.get(timeout=30) for _ in processes))
    for process in processes:
        process.join()
    print(total.value, array[:], memory.buf[0], list(words), [process.exitcode for process in processes])

    taken, go_on = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(lock, taken, go_on))
    holder.start()
    print(taken.wait(30), lock.acquire(timeout=0.1), lock.acquire(block=False))
    go_on.set()
    print(lock.acquire(timeout=30), lock.acquire(), repr(lock))
    lock.release()
    lock.release()
    for misused in (lock, context.BoundedSemaphore(1)):
        try:
            misused.release()
        except (AssertionError, ValueError) as e:
            print(type(e).__name__, e)
    holder.join()

    barrier, semaphore, results = context.Barrier(2), context.Semaphore(1), context.SimpleQueue()
    processes = [context.Process(target=pass_on, args=(barrier, semaphore, results)) for _ in range(2)]
    for process in processes:
        process.start()
    print(sorted(map(str, (results.get() for _ in range(4)))))
    for process in processes:
        process.join()

    with context.Pool(2) as pool:
        print(pool.map(square, range(5)))
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        print(list(executor.map(square, range(5))))
    with context.Manager() as manager:
        print(manager.list([1, 2]))
    with managers.SharedMemoryManager(ctx=context) as manager:
        print(list(manager.ShareableList([1, "two"])))

    try:
        shared_memory.SharedMemory("nobody-made-this")
    except FileNotFoundError as e:
        print(e)
    try:
        shared_memory.SharedMemory(memory.name, create=True, size=1)
    except FileExistsError as e:
        print(str(e).replace(memory.name, "NAME"))
    for shared in (memory, words.shm):
        shared.close()
        shared.unlink()

import multiprocessing as mp
import os
import resource


def look(q):
    q.put((sorted(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_AS)[0], os.nice(0)))


if __name__ == "__main__":
    q = mp.SimpleQueue()

    def show():
        p = mp.Process(target=look, args=(q,))
        p.start()
        p.join()
        return q.get()

    show()
    cpu = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, -1))
    n = os.nice(1)
    a = show()
    print(a[0] == [cpu], a[1] == 8 << 30, a[2] == n)

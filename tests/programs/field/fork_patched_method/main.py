import multiprocessing as mp

import service


def child(q):
    q.put(service.Client().get("x"))


def patched(self, k):
    return "patched " + k


if __name__ == "__main__":
    q = mp.SimpleQueue()
    for new in (lambda self, k: "lambda " + k, patched):
        service.Client.get = new
        p = mp.Process(target=child, args=(q,))
        p.start()
        p.join()
        print(q.get())
        p = mp.Process(target=service.report, args=(q,))
        p.start()
        p.join()
        print(q.get()[2])

import multiprocessing as mp
import os
import sys
import traceback


def noop():
    pass


if __name__ == "__main__":
    first = mp.SimpleQueue()
    first.put("from parent")
    l0 = mp.Lock()
    r, w = os.pipe()
    if os.fork() == 0:
        out = []
        for name, fn in [
            ("old queue", lambda: first.get()),
            ("old lock", lambda: l0.acquire()),
            ("new queue", lambda: (lambda q: (q.put(1), q.get()))(mp.SimpleQueue())),
            ("new lock", lambda: mp.Lock().acquire()),
            ("new value", lambda: mp.Value("i", 3).value),
            ("process", lambda: (lambda p: (p.start(), p.join(), p.exitcode))(mp.Process(target=noop))),
        ]:
            try:
                fn()
                out.append(name + " ok")
            except BaseException as e:
                out.append(name + " " + type(e).__name__)
                if name == "process" or "-v" in sys.argv:
                    traceback.print_exc()
        os.write(w, "; ".join(out).encode())
        os._exit(0)
    os.close(w)
    print(os.read(r, 400).decode())

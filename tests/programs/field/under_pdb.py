"""python -m pdb under_pdb.py  (commands on standard input: c, q)"""

from multiprocessing import Process


def child():
    print("child")


if __name__ == "__main__":
    p = Process(target=child)
    p.start()
    p.join()
    print("exit", p.exitcode)

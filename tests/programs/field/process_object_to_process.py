import multiprocessing as mp
import time


def victim():
    time.sleep(30)


def watchdog(p):
    time.sleep(0.5)
    p.terminate()


if __name__ == "__main__":
    v = mp.Process(target=victim)
    v.start()
    w = mp.Process(target=watchdog, args=(v,))
    w.start()
    v.join(5)
    print("victim", v.exitcode)
    w.join()
    print("watchdog", w.exitcode)
    if v.is_alive():
        v.kill()

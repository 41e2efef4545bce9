import multiprocessing as mp
import os
import signal
import time


def noop():
    pass


if __name__ == "__main__":
    p = mp.Process(target=noop)
    p.start()
    p.join()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)
    print("still here", flush=True)
    print("sigwait", signal.sigwait({signal.SIGTERM}).name)

"""Children are joined before the exit handlers that were registered before the first process."""

import atexit
import multiprocessing as mp
import os
import shutil
import tempfile
import time

folder = tempfile.mkdtemp()


def clean_up():
    print("cleaning up", sorted(os.listdir(folder)), len(mp.active_children()), flush=True)
    shutil.rmtree(folder)


def after_the_start():
    print("still running", len(mp.active_children()), flush=True)


def work(number):
    time.sleep(0.5)
    with open(os.path.join(folder, f"{number}.txt"), "w") as file:
        file.write("x")
    print("written", flush=True)


if __name__ == "__main__":
    atexit.register(clean_up)
    mp.set_start_method("fork")
    mp.Process(target=work, args=(1,)).start()
    atexit.register(after_the_start)

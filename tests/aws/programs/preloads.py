"""Runs processes, one after the other or, for a number, so many at once. Each reports whether it has imported a package itself.

One argument for each: what the process does then. A variable changes from an argument NAME=VALUE on.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile

import counted

from serverless_mp.function import preload


def look(queue):
    process = os.readlink("/proc/self")
    queue.put(("imported" if process == counted.PROCESS else "inherited", tempfile.gettempdir(), os.environ.get("SET")))


def leave(queue):
    """Leaves a process behind in a session of its own."""
    queue.put(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid)
    look(queue)


def lives(queue, pid):
    queue.put(os.path.exists(f"/proc/{pid}"))
    look(queue)


def crash(_):
    os.kill(int(os.readlink("/proc/self")), signal.SIGKILL)


def crash_parent(_):
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()


def tell_name(queue):
    queue.put((preload._inherited[0], tempfile.gettempdir(), None))


def nest(queue):
    """A process and its own process report the name of what they may have imported already."""
    tell_name(queue)
    process = multiprocessing.Process(target=tell_name, args=(queue,))
    process.start()
    process.join()


def run(count, function, *arguments):
    queue = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=function, args=(queue, *arguments)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = []
    while not queue.empty():
        found.append(queue.get())
    return [process.exitcode for process in processes], found


def main():
    multiprocessing.set_start_method("spawn", force=True)
    directories = []
    left = 0
    for argument in sys.argv[1:]:
        if "=" in argument:
            name, _, value = argument.partition("=")
            os.environ[name] = value
            continue
        count, function = (int(argument), look) if argument.isdecimal() else (1, globals()[argument])
        codes, found = run(count, function, *([left] if function is lives else []))
        if function is leave:
            left = found.pop(0)
        elif function is lives:
            print("lives" if found.pop(0) else "gone")
        directories += [directory for _, directory, _ in found]
        print(*sorted(how for how, _, _ in found), *{value for _, _, value in found} - {None}, *codes)
    print("directories", len({*directories}) == len(directories))


if __name__ == "__main__":
    main()

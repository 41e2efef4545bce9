"""Examines the surroundings of a process in a function. Prints one line for each question."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time


def search_path(queue):
    """Reports whether the layer's packages come before the runtime's own."""
    import six

    queue.put([path for path in sys.path if path.startswith(("/var/task", "/opt", "/var/runtime"))])
    queue.put(os.path.dirname(six.__file__))


def zone(queue):
    """Reports the local time of a moment in winter and of one in summer."""
    queue.put([time.strftime("%H %Z", time.localtime(moment)) for moment in (1_700_000_000, 1_720_000_000)])


def home(queue):
    with open(os.path.expanduser("~/written"), "w") as f:
        f.write("there")
    with open(os.path.join(tempfile.gettempdir(), "written"), "w") as f:
        f.write("there")
    queue.put(tempfile.gettempdir())


def environment(queue):
    queue.put([os.environ["AWS_LAMBDA_FUNCTION_NAME"], os.environ.get("OF_THE_PROGRAM"), "/var/lang/bin" in os.environ["PATH"]])


def is_gone(queue, path):
    queue.put(not os.path.exists(path))


def leave_behind(queue):
    """Starts a process in a session of its own, and ends at once."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    queue.put(process.pid)


def lives(queue, pid):
    queue.put(os.path.exists(f"/proc/{pid}"))


def fill(queue, count):
    """Writes a file in the process' own directory, which is deleted with the process."""
    path = os.path.join(tempfile.gettempdir(), "much")
    with open(path, "wb") as f:
        f.write(bytes(count))
    queue.put(os.path.getsize(path))


def litter(queue):
    """Writes a new file beside the process' own directory."""
    descriptor, path = tempfile.mkstemp(dir="/tmp")
    with open(descriptor, "wb") as f:
        f.write(bytes(200 << 20))
    queue.put(os.path.getsize(path))


def run(function, *arguments):
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=function, args=(queue, *arguments))
    process.start()
    found = []
    process.join()
    while not queue.empty():
        found.append(queue.get())
    return found


if __name__ == "__main__":
    for question in sys.argv[1:]:
        if question == "search_path":
            print(*run(search_path))
        elif question == "zone":
            print(*run(zone))
        elif question == "environment":
            print(*run(environment))
        elif question == "litter":
            print(*[count for _ in range(5) for count in run(litter)])
        elif question == "home":
            (directory,) = run(home)
            print(*run(is_gone, directory))
        elif question == "orphan":
            (pid,) = run(leave_behind)
            print(*run(lives, pid))
        elif question == "lives":
            print(*run(lives, 1))
        elif question == "fill":
            print(*[count for _ in range(4) for count in run(fill, 300 << 20)])

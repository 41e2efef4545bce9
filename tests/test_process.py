"""The life of processes."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from multiprocessing.connection import wait

import pytest

from places import PROGRAMS


def leave(code):
    sys.exit(code)


def fail():
    raise KeyError("on purpose")


def leave_at_once():
    os._exit(7)


@pytest.mark.parametrize(
    ("target", "args", "code"), [(leave, (0,), 0), (leave, (3,), 3), (fail, (), 1), (leave_at_once, (), 7), (leave, ("no",), 1)]
)
def test_exit_codes(mp, target, args, code):
    process = mp.Process(target=target, args=args)
    assert process.exitcode is None and not process.is_alive()
    process.start()
    process.join()
    assert process.exitcode == code
    assert not process.is_alive()


def inheritable():
    return {fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and is_inheritable(fd)}


def is_inheritable(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:  # the descriptor of the listing itself
        return False


def send_inheritable(connection):
    connection.send(inheritable())


@pytest.mark.skipif(sys.platform != "linux", reason="a list of descriptors")
def test_a_program_that_a_worker_executes_gets_no_descriptors(smp):
    reader, writer = smp.Pipe(duplex=False)
    process = smp.Process(target=send_inheritable, args=(writer,))
    process.start()
    assert reader.recv() == set()
    process.join()


@pytest.mark.parametrize(("end", "number"), [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)])
def test_ended_by_a_signal(mp, end, number):
    process = mp.Process(target=time.sleep, args=(1000,))
    process.start()
    assert process.is_alive()
    process.join(0.01)
    assert process.exitcode is None
    assert wait([process.sentinel], 0) == []
    getattr(process, end)()
    assert wait([process.sentinel], 30)
    process.join()
    assert process.exitcode == -number


def test_join_from_any_thread(mp):
    process = mp.Process(target=time.sleep, args=(0.1,))
    process.start()
    thread = threading.Thread(target=process.join, args=(30,))
    thread.start()
    thread.join()
    assert process.exitcode == 0


def report(queue):
    import multiprocessing

    parent = multiprocessing.parent_process()
    me = multiprocessing.current_process()
    queue.put((os.getpid(), me.name, me.daemon, bytes(me.authkey), parent.pid, parent.is_alive(), os.environ.get("SET_LATE")))


def test_identity_and_environment(mp, monkeypatch):
    import multiprocessing

    queue = mp.SimpleQueue()
    monkeypatch.setenv("SET_LATE", "yes")
    process = mp.Process(target=report, args=(queue,), name="somebody", daemon=True)
    process.start()
    pid, name, daemon, key, parent, alive, late = queue.get()
    assert (pid, name, daemon, parent, alive, late) == (process.pid, "somebody", True, os.getpid(), True, "yes")
    assert key == bytes(multiprocessing.current_process().authkey)
    process.join()
    assert process not in multiprocessing.active_children()


def test_output_is_complete(mp, capfd):
    process = mp.Process(target=speak)
    process.start()
    process.join()
    out, err = capfd.readouterr()
    assert out == "to standard output\n" * 100
    assert err == "to standard error\n"


def speak():
    for _ in range(100):
        print("to standard output")
    print("to standard error", file=sys.stderr)


def test_processes_of_processes(mp):
    queue = mp.SimpleQueue()
    process = mp.Process(target=start_another, args=(queue, 3))
    process.start()
    assert queue.get() == "three generations down"
    process.join()
    assert process.exitcode == 0


def start_another(queue, depth):
    import multiprocessing

    if depth == 0:
        queue.put("three generations down")
        return
    process = type(multiprocessing.current_process())(target=start_another, args=(queue, depth - 1))
    process.start()
    process.join()


class WithLock:
    def __init__(self):
        self.parts = {"lock": [threading.Lock()]}


def test_an_argument_that_cannot_be_pickled_is_named(smp):
    process = smp.Process(target=print, args=(1, WithLock()), name="P")
    with pytest.raises(TypeError, match="cannot pickle") as raised:
        process.start()
    assert "argument 1 of process 'P'.parts['lock'][0]" in "".join(raised.value.__notes__)


def test_close(mp):
    process = mp.Process(target=time.sleep, args=(1000,))
    process.start()
    with pytest.raises(ValueError):
        process.close()
    process.kill()
    process.join()
    process.close()
    with pytest.raises(ValueError):
        process.is_alive()


def test_a_module_that_the_worker_cannot_import_is_named(smp, tmp_path, monkeypatch, capfd):
    (tmp_path / "only_here.py").write_text("def target(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    process = smp.Process(target=only_here.target)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    process.start()
    process.join()
    assert process.exitcode == 1
    err = capfd.readouterr().err
    assert "No module named 'only_here'" in err
    assert "looked for module 'only_here' in [" in err


REWRITTEN = """
import multiprocessing, sys

VALUE = 1

def look(n):
    print("worker", n, VALUE, flush=True)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    for n in range(4):
        process = context.Process(target=look, args=(n,))
        process.start()
        process.join()
        if n == 2:
            with open(__file__) as f:
                text = f.read()
            with open(__file__, "w") as f:
                f.write(text.replace("VALUE = 1", "VALUE = 2"))
    print(1 is VALUE)
"""


def test_a_worker_runs_the_main_module_as_it_is_now(run, tmp_path):
    """Each worker also repeats the warnings of the module."""
    said = []
    for runs in (lambda program: subprocess.run([sys.executable, program], capture_output=True, text=True, check=True), run):
        program = tmp_path / "program.py"
        program.write_text(REWRITTEN)
        done = runs(program)
        said.append((done.stdout, [line for line in done.stderr.splitlines() if "Warning" in line]))
    assert said[0] == said[1]
    assert len(said[0][1]) == 5
    assert said[0][0].splitlines()[:4] == ["worker 0 1", "worker 1 1", "worker 2 1", "worker 3 2"]


def low_sockets(queue):
    numbers = [number for number in range(3, 32) if os.path.exists(f"/proc/self/fd/{number}")]
    queue.put([number for number in numbers if stat.S_ISSOCK(os.fstat(number).st_mode)])


def test_the_store_is_not_behind_the_number_of_a_pipe_of_the_parent(smp):
    """A program that forks may use such a number in the child, which has not got the pipe."""
    queue = smp.SimpleQueue()
    process = smp.Process(target=low_sockets, args=(queue,))
    process.start()
    assert queue.get() == []
    process.join()


def test_many_end_after_a_process_of_their_own(run):
    """A thread of such a worker waits for events, while the worker puts its end into the store."""
    done = run(PROGRAMS / "nested_ends.py")
    assert done.stdout == "160\n", done.stderr

"""A program that relies on fork prints the same on CPython's fork and on ours."""

import os
import subprocess
import sys

from forks import fork
from places import PROGRAMS


def test_fork_habits(run):
    program = PROGRAMS / "fork_habits.py"
    plain = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    ours = run(program)
    assert ours.stdout == plain.stdout, ours.stderr


def test_a_global_that_cannot_travel_is_named(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing\n"
        "numbers = (n for n in range(3))\nnext(numbers)\n"
        "def work():\n    next(numbers)\n"
        "process = multiprocessing.Process(target=work)\n"
        "process.start()\nprocess.join()\nprint(process.exitcode)\n"
    )
    done = run(program)
    assert done.stdout == "1\n"
    assert "global 'numbers' of __main__ (generator) could not travel to the worker" in done.stderr


def test_workers_hash_as_the_program_does(run):
    """Objects may keep hashes. The command starts the interpreter again with a seed, of which the program sees nothing."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    done = run(PROGRAMS / "field" / "fork_keeps_hashes.py", env=env)
    assert (done.stdout, done.stderr) == ("1 2 3 1\n1 2 3 1\n[1] 1\n", "")
    for seed in ("", "random"):
        done = run(PROGRAMS / "field" / "fork_keeps_hashes.py", env={**env, "PYTHONHASHSEED": seed})
        assert done.stdout.startswith("1 2 3 1\n")
    names = "[name for name in os.environ if 'HASH' in name]"
    look = f"import os, sys; print(sys.flags.hash_randomization, sys.argv, {names}, hash('a'))"
    first, second = (run("-c", look, "argument", env=env).stdout for _ in range(2))
    assert first.startswith("1 ['-c', 'argument'] [] ") and first != second
    done = run("-c", look, env={**env, "PYTHONHASHSEED": "0"})
    assert done.stdout.startswith("0 ['-c'] ['PYTHONHASHSEED'] ")


def test_the_program_s_own_fork_does_not_warn_of_our_threads(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, os\n"
        "queue = multiprocessing.Queue()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    queue.put('from the child')\n    queue.close()\n    queue.join_thread()\n    os._exit(0)\n"
        "print(queue.get(), os.waitpid(pid, 0)[1])\n"
    )
    done = run(program)
    assert (done.stdout, done.stderr) == ("from the child 0\n", "")


def test_a_fork_after_a_start_does_not_keep_the_process_alive(mp):
    """A later fork inherits the pipe of a process, but does not delay that process' end."""
    go = mp.Event()
    process = mp.Process(target=go.wait)
    process.start()
    reader, writer = os.pipe()
    ended = fork(lambda: os.read(reader, 1))
    go.set()
    process.join(30)
    assert process.exitcode == 0
    os.write(writer, b"x")
    ended()


def fork_and_send(connection):
    fork(lambda: connection.send("child"))()
    connection.send("worker")


def test_a_worker_forks_by_itself(mp):
    """The child does not use the worker's connection to the store."""
    reader, writer = mp.Pipe(duplex=False)
    process = mp.Process(target=fork_and_send, args=(writer,))
    process.start()
    writer.close()
    assert [reader.recv(), reader.recv()] == ["child", "worker"]
    process.join()
    assert process.exitcode == 0

"""Large arguments: their content in a process, how often they are read from the store, and what is left of them."""

import os
import signal
import subprocess
import sys
import textwrap
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

import stores
from forks import fork

BIG = 3 << 20


def write_and_tell(connection, array, text, both):
    """Writes to its own copy, and reports on the arguments; two references to one object are still one object."""
    found = [int(array.sum()), array.flags.writeable, hash(text) == hash(bytes(range(256)) * (BIG // 256)), both[0] is both[1]]
    array += 1
    connection.send([*found, int(array[0])])


@pytest.mark.parametrize("writeable", [True, False])
def test_each_process_has_its_own(mp, writeable):
    array = np.ones(BIG, np.uint8)
    array.flags.writeable = writeable
    shape = array.reshape(2, -1, order="F")[::-1]
    pipes = [mp.Pipe(duplex=False) for _ in range(3)]
    arguments = (array, bytes(range(256)) * (BIG // 256), [shape, shape])
    processes = [mp.Process(target=write_and_tell, args=(writer, *arguments)) for _, writer in pipes]
    for process in processes:
        process.start()
    found = [reader.recv() for reader, _ in pipes]
    for process in processes:
        process.join()
    assert found == 3 * [[BIG, True, True, True, 2]]
    assert array[0] == 1


PROGRAM = """
    import multiprocessing, os, signal, sys, tempfile
    import numpy as np

    def look(queue, array):
        with open("/proc/self/maps") as f:
            files = sorted({(line.split()[4], line.split()[5]) for line in f if "/arguments/h" in line})
        queue.put((int(array.sum()), files))
        if sys.argv[1] == "killed":
            signal.pause()

    if __name__ == "__main__":
        multiprocessing.set_start_method("spawn")
        queue = multiprocessing.Queue()
        if sys.argv[1] == "full":
            import resource
            multiprocessing.Lock()  # the store has the limit that it began with
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        array = np.ones(5 << 20, np.uint8)
        processes = [multiprocessing.Process(target=look, args=(queue, array)) for _ in range(4)]
        for process in processes:
            process.start()
        found = [queue.get() for _ in processes]
        files = {tuple(files) for _, files in found}
        print({size for size, _ in found} == {5 << 20}, len(files), *{len(each) for each in files}, flush=True)
        if sys.argv[1] == "killed":
            print(os.path.dirname(found[0][1][0][1]), flush=True)
            signal.pause()
        for process in processes:
            process.join()
        if files != {()}:
            print(os.listdir(os.path.dirname(found[0][1][0][1])))
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return path


def test_a_machine_reads_it_once(run, program, tmp_path):
    with stores.server(tmp_path / "store") as port:
        url = f"redis://:{stores.QUOTED}@127.0.0.1:{port}"
        done = run(program, "once", env={"SERVERLESS_MP_REDIS_URL": url})
        connection = stores.Connection(("127.0.0.1", port), stores.PASSWORD)
        counts = connection.info("commandstats")
        connection.close()
    lines = done.stdout.splitlines()
    assert lines[0] == "True 1 1", done.stderr
    assert not [name for name in eval(lines[1]) if name.startswith("h")]
    # Each piece of 1 MiB was set once and read once.
    assert [counts[f"cmdstat_{name}"].split(",")[0] for name in ("set", "get")] == ["calls=5", "calls=5"]


def test_without_room_for_a_file(run, program):
    done = run(program, "full")
    assert done.stdout == "True 1 0\n", done.stderr


def test_a_killed_program_leaves_no_file(program, tmp_path):
    command = [sys.executable, "-m", "serverless_mp.cli", "run", program, "killed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}) as process:
        assert process.stdout.readline() == "True 1 1\n"
        folder = Path(process.stdout.readline().strip())
        assert [path.stat().st_size for path in folder.glob("h*")] == [5 << 20]
        process.send_signal(signal.SIGKILL)
        # The zygote, its workers and the store's guard hold the other end until they end.
        assert process.stdout.read() == ""
    assert not folder.exists()


def test_a_failed_start_stores_nothing(smp):
    from serverless_mp.program import large_arguments

    process = smp.Process(target=write_and_tell, args=(None, np.ones(BIG), lambda: None, ()))
    with pytest.raises((AttributeError, TypeError)):
        process.start()
    assert not large_arguments._stored


def length(connection, array):
    connection.send((type(array).__name__, len(array)))


def give(mp, array):
    """Starts a process with the array; returns the type and length that it received."""
    reader, writer = mp.Pipe(duplex=False)
    process = mp.Process(target=length, args=(writer, array))
    process.start()
    found = reader.recv()
    process.join()
    return found


@pytest.mark.parametrize("first", ["parent", "child"])
def test_a_child_of_the_program_s_own_fork_stores_for_itself(mp, first):
    """After one of parent and child has deleted its stored argument, the other can still pass it to its own processes."""
    array = np.ones(BIG, np.uint8)
    reader, writer = mp.Pipe(duplex=False)
    process = mp.Process(target=length, args=(writer, array))
    process.start()
    assert reader.recv() == ("ndarray", BIG)
    if first == "parent":
        process.join()
    ready, go = os.pipe()

    def give_later():
        os.read(ready, 1)
        assert give(mp, array) == ("ndarray", BIG)

    ended = fork(give_later)
    process.join()
    os.write(go, b"x")
    assert give(mp, array) == ("ndarray", BIG)
    ended()


def as_list(array):
    return list, (array[:2].tolist(),)


def test_the_program_s_own_way_to_pickle_arrays(mp):
    ForkingPickler.register(np.ndarray, as_list)
    try:
        assert give(mp, np.ones(BIG, np.uint8)) == ("list", 2)
    finally:
        del ForkingPickler._extra_reducers[np.ndarray]

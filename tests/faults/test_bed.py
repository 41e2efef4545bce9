"""Numbered items through every kind of object while the store fails: nothing is lost, doubled, reordered, or hangs.

`SERVERLESS_MP_TEST_FAULTS="ITEMS SEEDS"` sets the number of items, and the number of seeds for each fault.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import bed
import pytest

import stores

pytestmark = pytest.mark.store

PROGRAMS = Path(__file__).parent / "programs"
FULL = "[Errno 12] the store's memory is full: raise its maxmemory, or let it hold less"
ITEMS, SEEDS = map(int, os.environ.get("SERVERLESS_MP_TEST_FAULTS", "150 1").split())


def right(items):
    """Returns the output of a flow without errors."""
    clean = "lost 0 doubled 0 reordered 0"
    lines = ["started"]
    for _ in range(2):
        lines += [f"queue: {items} {clean}", f"pipe: {items} {clean}"]
    lines += ["codes 0 0 0", "total True array True", f"pool: {items} {clean}", f"manager: {items // 10} {clean}"]
    return lines


def popen(name, *arguments, url, **env):
    command = [sys.executable, "-m", "serverless_mp.cli", "run", PROGRAMS / name, *map(str, arguments)]
    environment = os.environ | {"SERVERLESS_MP_REDIS_URL": url} | env
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("scenario", bed.SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_is_lost_doubled_or_reordered(tmp_path, scenario, seed, record_property):
    faults = scenario(tmp_path, seed)
    try:
        with popen("flow.py", ITEMS, url=faults.url) as program:
            started = program.stdout.readline()
            has_ended = faults.drive(program, 100 + ITEMS / 10)
            if not has_ended:
                program.kill()
            out, err = program.communicate()
    finally:
        faults.close()
    record_property("faults", faults.hits)
    print(scenario.__name__, "faults", faults.hits)
    assert (has_ended, (started + out).splitlines()) == (True, right(ITEMS)), err
    assert faults.hits > 0, "nothing has failed"


def test_a_store_without_its_data_is_a_lost_session(tmp_path):
    """The store is restarted without its data: every wait in the program and in its workers ends at once."""
    server = bed.Server(tmp_path / "store")
    proxy = bed.Proxy(server.port)
    try:
        with popen("waits.py", url=proxy.url) as program:
            assert program.stdout.readline() == "waiting\n"
            server.kill()
            server.start()
            out, err = program.communicate(timeout=60)
    finally:
        proxy.close()
        server.close()
    assert out == "lock lost\nqueue lost\nevent lost\ncodes 75 75\n", err


@pytest.mark.parametrize("what", ["queue", "lock", "nothing", "condition"])
def test_a_private_store_that_was_killed(what):
    """The session ends within seconds of its private store, which is never restarted."""
    program = subprocess.Popen(
        [sys.executable, "-m", "serverless_mp.cli", "run", PROGRAMS / "killed_store.py", what],
        env={name: value for name, value in os.environ.items() if name != "SERVERLESS_MP_REDIS_URL"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = program.communicate(timeout=60)
    assert out == "lost\ncodes 75 75\nwithin seconds\n", err


def test_a_command_that_lost_its_answer_does_not_run_twice(tmp_path):
    """The answer is lost at the moment when the store loses its functions."""
    server = bed.Server(tmp_path / "store")
    proxy = bed.Proxy(server.port)
    try:
        with popen("once.py", url=proxy.url) as program:
            for line in program.stdout:
                if line != "ready\n":
                    break
                proxy.before_reply = lambda: server.call("FUNCTION", "FLUSH")
                print(file=program.stdin, flush=True)
            _, err = program.communicate(timeout=60)
            cuts = proxy.cuts
    finally:
        proxy.close()
        server.close()
    assert line == "put once, got ['one']; released once, acquired 1 times; taken again True\n", err
    assert cuts >= 3, "no answer was lost"


def test_a_full_store_keeps_a_feeder_s_items(tmp_path):
    server = bed.Server(tmp_path / "store")
    try:
        url = f"redis://:{stores.QUOTED}@127.0.0.1:{server.port}"
        with popen("full.py", url=url) as program:
            assert program.stdout.readline() == "begun\n"
            server.call("CONFIG", "SET", "maxmemory", "1")
            print(file=program.stdin, flush=True)
            assert program.stdout.readline() == f"OSError {FULL}\n"
            server.call("CONFIG", "SET", "maxmemory", "0")
            out, err = program.communicate("\n", timeout=60)
    finally:
        server.close()
    assert out == f"got {['first', *range(20), 'last']}\n", err


def test_a_manager_starts_when_the_store_is_slow(tmp_path):
    """A manager's address does not travel through the store; the store must know the address before it is used."""
    server = bed.Server(tmp_path / "store")
    proxy = bed.Proxy(server.port)
    proxy.delay = 0.003
    try:
        with popen("managers.py", url=proxy.url) as program:
            out, err = program.communicate(timeout=100)
    finally:
        proxy.close()
        server.close()
    assert out == "6 of 6\n", err


@pytest.mark.slow
def test_many_objects_keep_their_lease(tmp_path):
    """2,000 locks outlive their lease in a store that is 20 ms away."""
    server = bed.Server(tmp_path / "store")
    proxy = bed.Proxy(server.port)
    try:
        with popen("many_objects.py", url=proxy.url, SERVERLESS_MP_LEASE="6") as program:
            assert program.stdout.readline() == "made\n"
            proxy.delay = 0.02
            out, err = program.communicate("\n", timeout=100)
    finally:
        proxy.close()
        server.close()
    assert out == "all there\n", err


def test_a_store_that_lies_learns_nothing_and_is_not_believed(tmp_path):
    """The store presents a message as the name of a blob, for which the receiver would ask; and delivers a message twice."""
    server = bed.Server(tmp_path / "store")
    store = stores.Connection(("127.0.0.1", server.port), stores.PASSWORD)
    try:
        with popen("lied_to.py", url=f"redis://:{stores.QUOTED}@127.0.0.1:{server.port}") as program:
            key = program.stdout.readline().split()[1]
            item = store.call("LPOP", key)
            for changed in (b"B" + item[1:], b"P" + item[1:], b"I09 " + item.split(b" ", 1)[1]):
                store.call("RPUSH", key, changed)
                print(file=program.stdin, flush=True)
                assert program.stdout.readline().startswith("ValueError payload refused: its seal does not open")
            store.call("RPUSH", key, item)
            store.call("RPUSH", key, item)
            out, err = program.communicate("\n", timeout=60)
    finally:
        store.close()
        server.close()
    assert out.splitlines()[0] == "{'password': 'of a queue'}", err
    assert out.splitlines()[1].startswith("ValueError payload refused: it was delivered before"), err


def test_sealed_memory_tells_the_store_nothing_and_believes_it_nothing(tmp_path):
    server = bed.Server(tmp_path / "store")
    store = stores.Connection(("127.0.0.1", server.port), stores.PASSWORD)
    url = f"redis://:{stores.QUOTED}@127.0.0.1:{server.port}"
    try:
        with popen("sealed_memory.py", url=url, SERVERLESS_MP_SEAL_MEMORY="1") as program:

            def read():
                print(file=program.stdin, flush=True)
                return program.stdout.readline().strip()

            assert read() == "b'secret' b'secret'"
            first, second = sorted(store.call("KEYS", "smp:*:G:*"))
            told = store.call("GET", first), store.call("GET", second)
            assert len(told[0]) > 1 << 16
            assert not any(b"secret" in content for content in told)
            changed = told[0][:-1] + bytes([told[0][-1] ^ 1])
            for key, content in ((first, changed), (first, told[1]), (first, b""), (second, told[1][:40])):
                store.call("SET", key, content)
                assert read().startswith("ValueError payload refused: its seal does not open for granule")
                store.call("SET", key, told[key == second])
            assert read() == "b'secret' b'secret'"
            _, err = program.communicate(timeout=60)
    finally:
        store.close()
        server.close()
    assert program.returncode == 0, err


def test_a_writer_of_sealed_memory_does_not_hold_others_up(server):
    url = f"redis://:{stores.QUOTED}@127.0.0.1:{server.port}"
    with popen("sealed_writers.py", url=url, SERVERLESS_MP_SEAL_MEMORY="1") as program:
        out, err = program.communicate(timeout=60)
    assert out == "0 True\n", err


def refusal(url, **env):
    """Returns the error output of a program that cannot use the store."""
    with popen("waits.py", url=url, **env) as program:
        _, err = program.communicate(timeout=60)
    assert program.returncode in (1, 2)  # the program's exit code, or that of `run`
    return err


def test_stores_that_do_not_serve_are_refused(tmp_path):
    options = {"one": (), "two": (), "envoy": ("--rename-command", "CLIENT", "")}
    servers = {name: bed.Server(tmp_path / name, *some) for name, some in options.items()}
    addresses = {name: f"{stores.QUOTED}@127.0.0.1:{server.port}" for name, server in servers.items()}
    try:
        servers["two"].call("REPLICAOF", "127.0.0.1", servers["one"].port)
        acl = ("&*", "+@all", "-function|load")
        servers["one"].call("ACL", "SETUSER", "few", "on", f">{stores.PASSWORD}", "~*", *acl)
        servers["one"].call("ACL", "SETUSER", "deaf", "on", f">{stores.PASSWORD}", "~*", "+@all", "resetchannels")
        told = refusal(f"redis://deaf:{addresses['one']}")
        assert "does not let this user publish and subscribe (" in told
        assert "add `+publish +subscribe +unsubscribe +ping &smp:*` to its access list" in told
        assert "takes no writes: use the address of its primary" in refusal(f"redis://:{addresses['two']}")
        assert "does not take our functions (NOPERM" in refusal(f"redis://few:{addresses['one']}")
        told = refusal(f"redis://:{addresses['one']}", SERVERLESS_MP_NEEDS_PERSISTENCE="1")
        assert "keeps no append-only file" in told
        assert "set its appendonly to yes" in told
        told = refusal(f"redis://:{addresses['envoy']}")
        assert "unknown command 'CLIENT'" in told
        assert "give the store's own address" in told
    finally:
        for server in servers.values():
            server.close()


def test_a_proxy_that_closes_connections_is_reported():
    """The proxy closes a connection without an answer, as Twemproxy does at unknown commands."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close_all():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.recv(1 << 16)
                    connection.close()

        threading.Thread(target=close_all, daemon=True).start()
        told = refusal(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
    assert "it closed the connection and said nothing" in told
    assert "give the store's own address" in told


def test_threads_share_a_lock_while_its_slot_moves(tmp_path):
    """One thread knows the new node while commands of another are still unread at the old node."""
    faults = bed.Resharding(tmp_path, 0)
    try:
        with popen("threads.py", url=faults.url) as program:
            assert program.stdout.readline() == "started\n"
            while faults.hits < 10:
                faults.hit()
            out, err = program.communicate("\n", timeout=60)
    finally:
        faults.close()
    assert out == "True 0\n", err


@pytest.fixture
def server(tmp_path):
    server = bed.Server(tmp_path / "server")
    yield server
    server.close()


@pytest.fixture
def proxy(server):
    proxy = bed.Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("fault", ["cut", "flush"])
def test_a_posted_command_of_an_idle_process_arrives(server, proxy, fault):
    with popen("idle_poster.py", url=proxy.url) as program:
        assert program.stdout.readline() == "ready\n"
        if fault == "flush":
            server.call("FUNCTION", "FLUSH")
        else:
            proxy.cut(every=True)
        out, err = program.communicate("\n", timeout=60)
    assert out == "a\n", err


def test_waits_that_begin_in_a_full_store_end(server, proxy):
    with popen("waits_when_full.py", url=proxy.url) as program:
        assert program.stdout.readline() == "ready\n"
        server.call("CONFIG", "SET", "maxmemory", "1")
        out, err = program.communicate("\n", timeout=60)
    assert out == "lock True event True poll True item\n", err


def test_a_task_whose_result_waits_for_room_is_not_begun_again(server, proxy, tmp_path):
    log = tmp_path / "log"
    with popen("ends_when_full.py", log, url=proxy.url) as program:
        assert program.stdout.readline() == "begun\n"
        server.call("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(6)  # the result waits
        server.call("CONFIG", "SET", "maxmemory", "0")
        out, err = program.communicate(timeout=60)
    assert (out, log.read_text()) == ("results [10, 20]\n", "1\n2\n"), err


def test_a_release_before_the_deletion_of_an_object_is_not_lost(server, proxy):
    with popen("let_go.py", url=proxy.url) as program:
        assert program.stdout.readline() == "ready\n"
        proxy.before_reply = lambda: time.sleep(0.3)  # both commands have run when the connection breaks
        out, err = program.communicate("\n", timeout=60)
    assert (out, proxy.cuts > 0) == ("kept True\n", True), err


def test_a_store_that_takes_no_writes_for_a_lease_is_a_lost_session(server, proxy):
    with popen("acquires.py", url=proxy.url, SERVERLESS_MP_LEASE="6") as program:
        assert program.stdout.readline() == "ready\n"
        server.call("CONFIG", "SET", "min-replicas-to-write", "1")
        out, err = program.communicate("\n", timeout=60)
    assert "session lost: session" in out, err
    assert "the store cannot do its work (store: NOREPLICAS" in out
    assert "cannot do its work (store: NOREPLICAS" in err


def test_an_abandoned_acquire_does_not_keep_the_lock(server, proxy):
    """The command has run and its answer is late when a signal handler raises."""
    with popen("given_up.py", url=proxy.url) as program:
        assert program.stdout.readline() == "ready\n"
        proxy.before_reply = lambda: time.sleep(2.5)
        print(file=program.stdin, flush=True)
        assert program.stdout.readline() == "given up\n"
        out, err = program.communicate("\n", timeout=60)
    assert out == "free again True\n", err


def test_a_big_message_lives_while_its_sender_waits(server):
    """The message outlives a lease, though only the waiting sender knows of it."""
    url = f"redis://:{stores.QUOTED}@127.0.0.1:{server.port}"
    with popen("waits_with_much.py", url=url, SERVERLESS_MP_LEASE="2", SERVERLESS_MP_PIPE_SIZE="200000") as program:
        assert program.stdout.readline() == "sent\n"
        last = time.monotonic() + 5
        while time.monotonic() < last:
            time.sleep(0.1)
            pieces = server.call("KEYS", "*:G:0")
        out, err = program.communicate("\n", timeout=60)
    assert (len(pieces), out) == (2, "[True, True, True]\n0\n"), err

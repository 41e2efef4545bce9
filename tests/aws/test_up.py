"""From an account to a first result and back: `up`, `run`, `status`, `down`.

This machine replaces the one that `up` starts: the tests run the part of its user data that starts the store, with a server
that has TLS.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from emulator import INTERPRETER, PROGRAMS, wheel
from sandbox.front import Rule
from test_deploy import everything, lines

from serverless_mp import addresses
from serverless_mp.deploy import certificate, instance

SERVERS = [name for name in ("valkey-server", "redis-server") if shutil.which(name)]
# The part of the user data that installs the store, on Amazon Linux only.
INSTALL = (Path(instance.__file__).parent / "files" / "store-install.sh").read_text()

needs_server = pytest.mark.skipif(not SERVERS, reason="no valkey-server or redis-server with TLS is installed")


@contextmanager
def machine(user_data, folder, port):
    """Runs the store of a machine's user data, without the part that installs it."""
    assert user_data.endswith(INSTALL)
    text = user_data.removesuffix(INSTALL).replace("directory=/etc/serverless-mp\n", f"directory={folder}\n")
    subprocess.run(["sh", "-c", text], check=True)
    for name in ("server.pem", "server.key", "password.sha256"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    command = ["sh", str(folder / "store-serve.sh"), str(folder), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield server
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def account(aws, tmp_path, monkeypatch):
    """An account without a store, and a user who has never used it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SERVERLESS_MP_REDIS_URL")
    return aws


def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def options(aws, name, port):
    where = ["--function", name, "--port", str(port), "--wheel", wheel(), "--glibc", "2.36", "--timeout", "60"]
    where += ["--runtime", "provided.al2023", "--interpreter", INTERPRETER]
    return where


def up(aws, name, port):
    command = [sys.executable, "-m", "serverless_mp.cli", "up", "--yes", *options(aws, name, port)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env={**os.environ, **aws.env}, text=True, **pipes)


def left(aws, name):
    """Returns the machines and security groups with the function's tag."""
    ec2 = aws.client("ec2")
    mine = [{"Name": "tag:serverless-mp", "Values": [name]}]
    machines = [one for r in ec2.describe_instances(Filters=mine)["Reservations"] for one in r["Instances"]]
    machines = [one["InstanceId"] for one in machines if one["State"]["Name"] != "terminated"]
    return machines + [group["GroupId"] for group in ec2.describe_security_groups(Filters=mine)["SecurityGroups"]]


@needs_server
def test_from_an_account_to_a_result_and_back(account, tmp_path):
    name, port = "tests-up", free_port()
    (tmp_path / "etc").mkdir()
    with up(account, name, port) as making:
        with machine(account.front.user_data.get(timeout=60), tmp_path / "etc", port):
            out, err = making.communicate(timeout=100)
            assert making.returncode == 0, err
            told = out.splitlines()
            assert told[0].startswith(f"create security group {name}-store: TCP {port} from anywhere")
            assert told[1].startswith(
                f"start a machine {name}-store (t4g.small, Amazon Linux 2023, Valkey): about $0.022 an hour"
            )
            assert re.fullmatch(rf"done in \d+ s: serverless-mp run --on lambda --function {name} script.py", told[-1])

            note = tmp_path / "config" / "serverless-mp" / f"{name}.json"
            assert stat.S_IMODE(note.stat().st_mode) == 0o600
            password = re.search(r"rediss://:(\w{64})@", json.loads(note.read_text())["url"])[1]
            assert password not in "".join(path.read_text() for path in (tmp_path / "etc").iterdir() if path.is_file())

            # No address is set: the store is found by the function's name.
            done = account.run(name, PROGRAMS / "many.py", 4)
            assert done.stdout == "".join(account_of_many(4)), done.stderr
            assert "4 processes in 4 invocations" in done.stderr

            status = "\n".join(lines(account.command("status", "--function", name)))
            assert re.search(r"store +i-\w+, t4g.small, running, 127.0.0.1, about \$0.022 an hour", status)
            doctor = account.command("doctor", "--function", name)
            assert "BAD" not in doctor.stdout, doctor.stdout

            # The machine has stopped: the next `up` starts it again.
            identity = json.loads(note.read_text())["instance"]
            account.client("ec2").stop_instances(InstanceIds=[identity])
            assert "starts it again" in account.command("status", "--function", name).stdout
            again = lines(account.command("up", "--yes", *options(account, name, port)))
            assert again[0] == f"start machine {identity} again: about $0.022 an hour"
            assert len(again) == 2

            # The port, the region and the kind of a store cannot change.
            done = account.command("up", "--yes", *options(account, name, port), "--port", str(port + 1))
            assert f"--port {port + 1}: the store has {port}; `serverless-mp down` removes it first" in done.stderr
            for command in (["up", *options(account, name, port)], ["down", "--function", name]):
                done = account.command(*command, "--yes", env={"AWS_REGION": "us-east-1"})
                assert done.returncode == 1
                assert "is in region eu-central-1 of account 000000000000, and this is us-east-1" in done.stderr
            done = account.command("up", "--private", "--yes", "--function", name, "--wheel", wheel())
            assert f"{name} has a store of `up`: `serverless-mp down` removes it first" in done.stderr

            # Without the note, as on another machine, `up` finds the store's machine but no password.
            note.rename(tmp_path / "elsewhere")
            done = account.command("up", "--yes", *options(account, name, port))
            assert done.returncode == 1 and "its password is only where `serverless-mp up` made it" in done.stderr
            (tmp_path / "elsewhere").rename(note)

            gone = lines(account.command("down", "--yes", "--function", name))
            assert gone[0] == f"terminated machine {identity}"
            assert f"deleted function {name}" in gone and gone[-1] == f"deleted {note}"
            assert everything(account, name) == left(account, name) == []
            assert not note.exists()
            assert lines(account.command("down", "--yes", "--function", name)) == ["nothing was there"]


def account_of_many(count):
    done = subprocess.run([sys.executable, PROGRAMS / "many.py", str(count)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines(keepends=True)


def test_asks_before_it_creates_billed_resources(account):
    done = account.command("up", *options(account, "tests-asks", 6379), stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "up makes what costs money in eu-central-1: name --yes" in done.stderr
    assert left(account, "tests-asks") == everything(account, "tests-asks") == []
    dry = lines(account.command("up", "--dry-run", *options(account, "tests-asks", 6379)))
    assert len(dry) == 4
    assert left(account, "tests-asks") == []


@pytest.mark.parametrize(
    ("action", "code", "words"),
    [
        ("RunInstances", "UnauthorizedOperation", "AWS refuses RunInstances: UnauthorizedOperation"),
        ("RunInstances", "VcpuLimitExceeded", "raise the quota `Running On-Demand Standard instances`"),
        ("RunInstances", "Unsupported", "no zone of eu-central-1 has a machine of type t4g.small now"),
        ("GetCallerIdentity", "ExpiredToken", "the credentials have expired"),
        ("GetCallerIdentity", "SignatureDoesNotMatch", "or this machine's clock is wrong"),
    ],
)
def test_what_aws_refuses(account, action, code, words):
    """A refusal is reported, and nothing is left behind."""
    account.front.refusals[action] = code
    try:
        done = account.command("up", "--yes", *options(account, "tests-refused", 6379))
    finally:
        account.front.refusals.clear()
    assert done.returncode == 1
    assert words in done.stderr
    assert left(account, "tests-refused") == everything(account, "tests-refused") == []


def test_group_that_was_left_closed(account):
    """An earlier `up` could not open the port of its security group."""
    account.front.refusals["AuthorizeSecurityGroupIngress"] = "UnauthorizedOperation"
    try:
        done = account.command("up", "--yes", *options(account, "tests-closed", 6379))
    finally:
        account.front.refusals.clear()
    assert "what it has made until now may cost money" in done.stderr
    assert len(left(account, "tests-closed")) == 1
    account.front.refusals["RunInstances"] = "VcpuLimitExceeded"
    try:
        account.command("up", "--yes", *options(account, "tests-closed", 6379))
    finally:
        account.front.refusals.clear()
    assert left(account, "tests-closed") == []  # `up` has opened the group, and removed it after its failure


def test_quota_of_zero(account):
    rule = Rule("GET", "^/2016-08-19/account-settings", fields={"AccountLimit": {"ConcurrentExecutions": 0}})
    account.front.rules.append(rule)
    done = account.command("up", "--yes", *options(account, "tests-quota", 6379))
    assert done.returncode == 1
    assert "the account may run no invocation: ask for the quota `Concurrent executions`" in done.stderr
    assert left(account, "tests-quota") == everything(account, "tests-quota") == []


def test_machine_that_never_answers(account, monkeypatch):
    """The message says that the machine still costs money."""
    import boto3

    for name, value in account.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(instance, "_READY", 0.0)
    store = instance.Store(boto3.session.Session(), "tests-silent", "t4g.small", 1)
    addresses.write("tests-silent", {"url": "redis://127.0.0.1:1/0", "instance": "i-1"})
    told = []
    with pytest.raises(
        instance.InstanceError, match="the store does not answer after 0 s .* It costs about .0.022 an hour until"
    ):
        store.wait(told.append)
    assert told


def test_no_default_vpc(account):
    account.front.refusals["DescribeVpcs"] = None
    try:
        done = account.command("up", "--yes", *options(account, "tests-no-vpc", 6379))
    finally:
        account.front.refusals.clear()
    assert done.returncode == 1
    assert "there is no default VPC in eu-central-1: `aws ec2 create-default-vpc` makes one" in done.stderr


def test_function_in_a_vpc(account):
    done = account.command("up", "--yes", "--subnets", "subnet-1", "--security-groups", "sg-1")
    assert done.returncode == 1
    assert "up makes a store that the function reaches where it is" in done.stderr


@needs_server
def test_certificate_of_another_store(account, tmp_path):
    """Another machine has the address now, with a certificate of its own."""
    port = free_port()
    with machine(instance.user_data("a" * 64, certificate.make(), port), tmp_path, port) as server:
        url = f"rediss://:{'a' * 64}@127.0.0.1:{port}/0?ca={certificate.make().authority.hex()}&server_name={certificate.SERVER_NAME}"
        done = account.command("run", "-c", "pass", env={"SERVERLESS_MP_REDIS_URL": url})
        assert done.returncode == 2 and "certificate" in done.stderr
        assert server.poll() is None


def test_the_machine_stops_when_nobody_is_connected(tmp_path):
    """Tests the script that a timer runs on the machine."""
    import socket

    script = Path(instance.__file__).parent / "files" / "store-idle.sh"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def times():
            return subprocess.run(["sh", script, str(port), "2", tmp_path / "times"], check=False).returncode

        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0]:
            assert [times(), times(), times()] == [0, 0, 0]
        assert [times(), times()] == [0, 1]


def test_user_data_is_small_and_without_the_password():
    text = instance.user_data("b" * 64, certificate.make(), 6379)
    assert len(text) < 16384  # EC2's limit
    assert "b" * 64 not in text
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0

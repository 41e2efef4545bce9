"""Access to AWS: profiles that sign in, a proxy, a custom certificate authority."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
from urllib.parse import urlsplit

import pytest
import trustme
from emulator import PROGRAMS

from test_tls import pass_on, tls_in_front_of

PROFILE = """
[profile me]
sso_session = mine
sso_account_id = 000000000000
sso_role_name = role
[sso-session mine]
sso_start_url = https://start.example
sso_region = eu-central-1
"""
NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@pytest.fixture
def home(tmp_path):
    """The home directory of a user whose profile signs in by SSO."""
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    (tmp_path / ".aws" / "config").write_text(PROFILE)
    return tmp_path


def sign_in(home):
    name = hashlib.sha1(b"mine").hexdigest()
    token = {
        "startUrl": "https://start.example",
        "region": "eu-central-1",
        "accessToken": "t",
        "expiresAt": "2100-01-01T00:00:00Z",
    }
    (home / ".aws" / "sso" / "cache" / f"{name}.json").write_text(json.dumps(token))


def test_profile_that_signs_in(aws, function, home):
    """The launcher finds the credentials by boto3's own chain, as the other commands do."""
    env = {**NO_KEYS, "HOME": str(home), "AWS_PROFILE": "me"}
    done = aws.run(function, PROGRAMS / "many.py", 2, env=env)
    assert "aws sso login" in done.stderr and "0 processes" not in done.stderr
    sign_in(home)
    done = aws.run(function, PROGRAMS / "many.py", 2, env=env)
    assert done.returncode == 0, done.stderr
    assert "2 processes in 2 invocations" in done.stderr
    status = aws.command("status", "--function", function, env=env)
    assert status.returncode == 0, status.stderr


@contextlib.contextmanager
def proxy(login):
    """A proxy for tunnels; yields its port and the requests that it has received."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=connect, args=(listener.accept()[0],), daemon=True).start()

        def connect(here):
            with contextlib.suppress(OSError):
                head = b""
                while b"\r\n\r\n" not in head:
                    head += here.recv(4096)
                method, place, _ = head.decode().split(" ", 2)
                asked.append((method, place, login in head.decode()))
                there = socket.create_connection(place.split(":"))
                here.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                pass_on(here, there)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], asked


def test_proxy_and_a_custom_authority(aws, function, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    port = urlsplit(aws.url).port
    with tls_in_front_of(port, authority.issue_cert("localhost")) as secure, proxy("Basic dTpw") as (its_port, asked):
        env = {"AWS_ENDPOINT_URL": f"https://localhost:{secure}", "HTTPS_PROXY": f"http://u:p@127.0.0.1:{its_port}"}
        done = aws.run(function, PROGRAMS / "many.py", 2, env=env)
        assert "UnknownIssuer" in done.stderr and done.returncode == 1
        env["AWS_CA_BUNDLE"] = str(tmp_path / "ca.pem")
        done = aws.run(function, PROGRAMS / "many.py", 2, env=env)
        assert done.returncode == 0, done.stderr
        assert set(asked) == {("CONNECT", f"localhost:{secure}", True)}
        asked.clear()
        done = aws.run(function, PROGRAMS / "many.py", 2, env={**env, "NO_PROXY": "localhost"})
        assert done.returncode == 0 and asked == []
        env["AWS_CA_BUNDLE"] = str(tmp_path / "none.pem")
        done = aws.run(function, PROGRAMS / "many.py", 2, env=env)
        assert f"AWS_CA_BUNDLE {tmp_path}/none.pem: " in done.stderr

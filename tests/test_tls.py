"""A store behind TLS."""

import contextlib
import socket
import ssl
import threading
from urllib.parse import quote

import pytest
import trustme

import stores

pytestmark = pytest.mark.store

PROGRAM = """
import multiprocessing

def echo(a, b):
    b.put(a.get())

if __name__ == "__main__":
    a, b = multiprocessing.SimpleQueue(), multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=echo, args=(a, b))
    process.start()
    a.put(b"x" * 3_000_000)
    print(len(b.get()))
    process.join()
"""


def pass_on(here, there):
    """Copies bytes in both directions until an end is closed."""

    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=pump, args=(there, here), daemon=True).start()
    pump(here, there)


@contextlib.contextmanager
def tls_in_front_of(port, certificate):
    """Yields a port that speaks TLS and forwards to another port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Buffers are small, so that whole commands do not fit.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    plain, _ = listener.accept()
                    threading.Thread(target=connect, args=(plain,), daemon=True).start()

        def connect(plain):
            with contextlib.suppress(OSError):
                there = socket.create_connection(("127.0.0.1", port))
                here = context.wrap_socket(plain, server_side=True)
                pass_on(here, there)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("trusted", [True, False])
def test_tls(run, tmp_path, trusted):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issuer = authority if trusted else trustme.CA()
    with (
        stores.server(tmp_path / "server") as port,
        tls_in_front_of(port, issuer.issue_cert("localhost")) as secure,
    ):
        env = {
            "SERVERLESS_MP_REDIS_URL": f"rediss://:{stores.QUOTED}@localhost:{secure}/0",
            "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        }
        done = run(program, env=env)
    if trusted:
        assert done.stdout == "3000000\n", done.stderr
    else:
        assert "cannot reach the store" in done.stderr and "certificate" in done.stderr


AUTHORITY_OF_ONES_OWN = """
import multiprocessing, os

def nested(name, queue):
    # This worker cannot find the file of the certificate.
    queue.put(os.path.exists(name))

def work(name, queue):
    process = multiprocessing.Process(target=nested, args=(name, queue))
    process.start()
    process.join()

if __name__ == "__main__":
    name = os.environ["AUTHORITY"]
    queue = multiprocessing.Queue()
    os.rename(name, name + ".moved")
    process = multiprocessing.Process(target=work, args=(name, queue))
    process.start()
    print(queue.get())
    process.join()
"""


def test_authority_and_name_in_the_address(run, tmp_path):
    """Workers need only the address, since the certificate travels in it."""
    program = tmp_path / "program.py"
    program.write_text(AUTHORITY_OF_ONES_OWN)
    authority = trustme.CA()
    path = tmp_path / "my ca.pem"
    authority.cert_pem.write_to_path(path)
    with (
        stores.server(tmp_path / "server") as port,
        tls_in_front_of(port, authority.issue_cert("store.of.mine")) as secure,
    ):
        place = f"rediss://:{stores.QUOTED}@127.0.0.1:{secure}/0?ssl_ca_certs={quote(str(path))}"
        other = run(program, env={"SERVERLESS_MP_REDIS_URL": place, "AUTHORITY": str(path)})
        assert "not valid for name" in other.stderr and stores.QUOTED not in other.stderr
        done = run(program, env={"SERVERLESS_MP_REDIS_URL": f"{place}&server_name=store.of.mine", "AUTHORITY": str(path)})
        assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?ssl_ca_certs=/there/is/none", "ssl_ca_certs /there/is/none: "),
        ("?secret@host", "a question mark in a password is written %3F"),
        ("?ssl_cert_reqs=none", 'there is no parameter "ssl_cert_reqs"'),
        (f"?ssl_ca_certs={quote(__file__)}", "no certificate (PEM) is in it"),
    ],
)
def test_bad_parameters_of_the_address(run, query, words):
    done = run("-c", "pass", env={"SERVERLESS_MP_REDIS_URL": f"rediss://:secret@localhost:1/0{query}"})
    assert done.returncode == 2
    assert words in done.stderr and "secret" not in done.stderr

"""Container images for the tests: registries (Debian's docker-registry), a base image, and the files that Lambda unpacks."""

from __future__ import annotations

import base64
import contextlib
import datetime
import gzip
import hashlib
import io
import json
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "docker-registry"
# The emulator's login to ECR, and the same login in a registry's password file.
LOGIN = "Basic " + base64.b64encode(b"AWS:ministack-auth-token").decode()
PASSWORDS = "AWS:$2b$04$Dmv/nziZkk6sLagvhwdDEuS399tNNRL697vIM8YNwuFWiEQdeln.e\n"
SERVICE = "tests"


def possible() -> bool:
    """Whether this machine has the registry server."""
    return shutil.which(SERVER) is not None


@dataclass
class Image:
    """A pulled image: the configuration of its container, and its layers."""

    config: dict
    layers: list[bytes]

    @classmethod
    def pull(cls, address: str, login: str) -> Image:
        """Pulls an image by its digest, and checks all digests and sizes."""
        place, _, version = address.partition("@")
        host, _, name = place.partition("/")

        def get(path: str) -> bytes:
            headers = {"Authorization": login, "Accept": "application/vnd.oci.image.manifest.v1+json"}
            request = urllib.request.Request(f"http://{host}/v2/{name}/{path}", headers=headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()

        manifest = get(f"manifests/{version}")
        assert digest(manifest) == version
        parts = json.loads(manifest)
        layers = []
        config = json.loads(get(f"blobs/{parts['config']['digest']}"))
        for layer, bare in zip(parts["layers"], config["rootfs"]["diff_ids"], strict=True):
            data = get(f"blobs/{layer['digest']}")
            assert (digest(data), len(data)) == (layer["digest"], layer["size"])
            assert digest(gzip.decompress(data)) == bare
            layers.append(data)
        return cls(config["config"], layers)

    def unpack(self, folder: Path) -> None:
        """Unpacks the layers in order into a folder."""
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
                archive.extractall(folder, filter="tar")


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def base(architecture: str = "amd64") -> dict[str, bytes]:
    """Returns a base image in the form of AWS' own: parts by digest, and as `latest` an index by architecture."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("opt/of-the-base")
        info.size, info.mode = 4, 0o644
        archive.addfile(info, io.BytesIO(b"base"))
    layer = gzip.compress(out.getvalue())
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Env": ["PATH=/var/lang/bin:/usr/bin:/bin", "LAMBDA_TASK_ROOT=/var/task"],
            "Entrypoint": ["/lambda-entrypoint.sh"],
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(out.getvalue())]},
    }
    parts = {"config": json.dumps(config).encode(), "layer": layer}
    docker = "application/vnd.docker"
    types = {"config": f"{docker}.container.image.v1+json", "layer": f"{docker}.image.rootfs.diff.tar.gzip"}
    described = {kind: {"mediaType": types[kind], "digest": digest(data), "size": len(data)} for kind, data in parts.items()}
    manifest = {"schemaVersion": 2, "mediaType": f"{docker}.distribution.manifest.v2+json"}
    manifest |= {"config": described["config"], "layers": [described["layer"]]}
    data = json.dumps(manifest).encode()
    one = {"mediaType": manifest["mediaType"], "digest": digest(data), "size": len(data)}
    index = {
        "schemaVersion": 2,
        "mediaType": f"{docker}.distribution.manifest.list.v2+json",
        "manifests": [one | {"platform": {"architecture": architecture, "os": "linux"}}],
    }
    return {digest(part): part for part in parts.values()} | {"manifest": data, "latest": json.dumps(index).encode()}


class Registries:
    """A public registry, which gives everybody a token for pulls, like AWS' own; and one with a password, like an account's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tokens = Tokens(folder)
        token = f"token: {{realm: '{self._tokens.url}', service: {SERVICE}, issuer: {SERVICE}, rootcertbundle: {folder}/issuer.pem}}"
        (folder / "passwords").write_text(PASSWORDS)
        self._processes = []
        self.public = self._start(folder / "public", token)
        self.account = self._start(folder / "account", f"htpasswd: {{realm: account, path: {folder}/passwords}}")

    def _start(self, folder: Path, auth: str) -> str:
        folder.mkdir()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            host = f"127.0.0.1:{s.getsockname()[1]}"
        configuration = folder / "config.yml"
        configuration.write_text(
            f"version: 0.1\nlog: {{accesslog: {{disabled: true}}, level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
            f"http: {{addr: '{host}'}}\nauth:\n  {auth}\n"
        )
        with open(folder / "log", "wb") as log:
            self._processes.append(subprocess.Popen([SERVER, "serve", configuration], stdout=log, stderr=log))
        last = time.monotonic() + 30
        while time.monotonic() < last and self._processes[-1].poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(host.split(":"), 1):
                return host
            time.sleep(0.02)
        raise RuntimeError((folder / "log").read_text())

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._tokens.server.shutdown()
        self._tokens.server.server_close()


class Tokens:
    """Issues tokens: to anybody for pulls, and to the owner of the password for all actions."""

    OWNER = ("owner", "secret")

    def __init__(self, folder: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SERVICE)])
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder(
            name, name, key.public_key(), 1, now - datetime.timedelta(1), now + datetime.timedelta(9)
        )
        certificate = made.sign(key, hashes.SHA256())
        (folder / "issuer.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
        owner = "Basic " + base64.b64encode(":".join(self.OWNER).encode()).decode()

        def token(scope: str, is_owner: bool) -> str:
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if is_owner else ["pull"]
            moment = int(time.time())
            claims = {
                "iss": SERVICE,
                "sub": "",
                "aud": SERVICE,
                "exp": moment + 300,
                "nbf": moment - 9,
                "iat": moment,
                "jti": "1",
            }
            claims["access"] = [{"type": kind, "name": name, "actions": allowed}]
            head = {"alg": "RS256", "typ": "JWT", "x5c": chain}
            text = b".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
            return (text + b"." + _encoded(key.sign(text, padding.PKCS1v15(), hashes.SHA256()))).decode()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                data = json.dumps({"token": token(asked["scope"][0], self.headers.get("Authorization") == owner)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")

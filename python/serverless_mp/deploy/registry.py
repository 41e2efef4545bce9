"""A client of a registry of container images, by the OCI distribution specification."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import urljoin, urlsplit

import requests

from .content import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_REFERENCE = re.compile(r"([\w.-]+(?::\d+)?)/([a-z0-9._/-]+?)(?::([\w.-]{1,128})|@(sha256:[0-9a-f]{64}))?")
_HOSTS = {"docker.io": "registry-1.docker.io"}
_LOOPBACK = {"localhost", "127.0.0.1"}
_TIMEOUT = (10, 120)
_BLOCK = 1 << 20
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


class Reference(NamedTuple):
    """The name of an image: its registry, its repository, and a tag or a digest."""

    host: str
    name: str
    version: str

    @classmethod
    def parse(cls, image: str) -> Reference:
        """Parses the name of an image. Raises ValueError for anything else."""
        found = _REFERENCE.fullmatch(image)
        if found is None or not (set(found[1]) & set(".:") or found[1] in _LOOPBACK):
            raise ValueError(
                f"--base {image}: must be an image with its registry, as in public.ecr.aws/lambda/python:3.13 or "
                "docker.io/library/python:3.13-slim"
            )
        return cls(found[1], found[2], found[4] or found[3] or "latest")

    def __str__(self) -> str:
        return f"{self.host}/{self.name}{'@' if ':' in self.version else ':'}{self.version}"


class Registry:
    """One repository of a registry. Its methods raise ContentError for requests that the registry refuses."""

    def __init__(self, host: str, name: str, credentials: tuple[str, str] | None = None) -> None:
        self.host, self.name, self._credentials = host, name, credentials
        scheme = "http" if host.partition(":")[0] in _LOOPBACK else "https"
        self._url = f"{scheme}://{_HOSTS.get(host, host)}/v2/{name}"
        self._session = requests.Session()
        self._session.verify = os.environ.get("AWS_CA_BUNDLE") or True

    def manifest(self, version: str) -> tuple[bytes, str]:
        """Reads a manifest by its tag or digest. Returns its bytes and their media type."""
        answer = self._call("GET", f"manifests/{version}", headers={"Accept": ", ".join(_MANIFESTS)})
        if version.startswith("sha256:"):
            _check(version, hashlib.sha256(answer.content), self.host)
        media_type: str = json.loads(answer.content).get("mediaType") or answer.headers.get("Content-Type", "")
        return answer.content, media_type

    def has(self, digest: str) -> bool:
        """Whether the repository has a blob."""
        return self._call("HEAD", f"blobs/{digest}", also=404).status_code != requests.codes.not_found

    def fetch(self, digest: str, path: Path) -> None:
        """Writes a blob to a file."""
        part = path.with_suffix(".part")
        found = hashlib.sha256()
        try:
            with self._call("GET", f"blobs/{digest}", stream=True) as answer, part.open("wb") as out:
                for block in answer.iter_content(_BLOCK):
                    found.update(block)
                    out.write(block)
        except requests.RequestException as e:
            raise ContentError(f"registry {self.host}: {e}") from e
        _check(digest, found, self.host)
        part.rename(path)

    def send(self, digest: str, path: Path, progress: Callable[[int, int], None]) -> None:
        """Sends a blob from a file, as one stream."""
        begun = self._call("POST", "blobs/uploads/")
        with path.open("rb") as file:
            data = _Counted(file, path.stat().st_size, progress)
            headers = {"Content-Type": "application/octet-stream"}
            sent = self._call("PATCH", self._next(begun), data=data, headers=headers)
        # The URL may have parameters already.
        self._call("PUT", self._next(sent), params={"digest": digest})

    def put_manifest(self, version: str, data: bytes, media_type: str) -> None:
        """Stores a manifest under a tag."""
        self._call("PUT", f"manifests/{version}", data=data, headers={"Content-Type": media_type})

    def _next(self, answer: requests.Response) -> str:
        return urljoin(answer.url, answer.headers["Location"])

    def _call(self, method: str, place: str, also: int = 0, **options: Any) -> requests.Response:
        url = place if "://" in place else f"{self._url}/{place}"
        try:
            answer = self._session.request(method, url, timeout=_TIMEOUT, **options)
            if answer.status_code == requests.codes.unauthorized and self._authorize(answer):
                answer = self._session.request(method, url, timeout=_TIMEOUT, **options)
        except requests.RequestException as e:
            raise ContentError(f"registry {self.host}: {e}") from e
        if answer.ok or answer.status_code == also:
            return answer
        if answer.status_code in {requests.codes.unauthorized, requests.codes.forbidden}:
            raise ContentError(
                f"registry {self.host} refuses {self.name} ({answer.status_code}): it must be a public image, or one of the "
                "account's own registry"
            )
        if answer.status_code == requests.codes.not_found:
            raise ContentError(f"registry {self.host} has no {self.name}, {place}")
        raise ContentError(f"registry {self.host} answers {answer.status_code} to {method} {place}: {answer.text:.300}")

    def _authorize(self, refused: requests.Response) -> bool:
        """Does what the registry asks for. Returns whether another try is worthwhile."""
        kind, _, rest = refused.headers.get("WWW-Authenticate", "").partition(" ")
        if kind.lower() == "basic" and self._credentials is not None and self._session.auth is None:
            self._session.auth = self._credentials
            return True
        if kind.lower() != "bearer":
            return False
        asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = asked.get("realm", "")
        if not realm.startswith("https://") and urlsplit(realm).hostname not in _LOOPBACK:
            raise ContentError(f"registry {self.host} names no place for tokens that can be trusted: {realm!r}")
        answer = self._session.get(
            realm,
            params={name: asked[name] for name in ("service", "scope") if name in asked},
            auth=self._credentials,
            headers={"Authorization": None},
            timeout=_TIMEOUT,
        )
        told = answer.json() if answer.ok else {}
        token = told.get("token") or told.get("access_token")
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        return bool(token)


class _Counted:
    """A file for sending that reports how much of it has been read."""

    def __init__(self, file: BinaryIO, size: int, progress: Callable[[int, int], None]) -> None:
        self._file, self._size, self._progress = file, size, progress

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._progress(self._file.tell(), self._size)
        return data


def _check(digest: str, found: Any, host: str) -> None:
    if digest != f"sha256:{found.hexdigest()}":
        raise ContentError(f"registry {host} has sent other bytes than those of {digest}")

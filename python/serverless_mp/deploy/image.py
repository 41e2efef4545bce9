"""A function as a container image, built without Docker: the packages form one more layer on a base image.

The result is an OCI image layout in a folder. Layers of the base are fetched into it only if the target repository does not
have them yet.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from .content import Content, ContentError
from .registry import Reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .registry import Registry
    from .settings import Settings

# Lambda's limit for all layers together, unpacked.
MOST = 10 << 30

_TASK = "var/task"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_LAYERS = {_LAYER, "application/vnd.docker.image.rootfs.diff.tar.gzip"}
_PROCESSORS = {"x86_64": "amd64", "arm64": "arm64"}
_EPOCH = "1970-01-01T00:00:00Z"


class Image:
    """The image of a function. Raises ContentError for an unsuitable base."""

    def __init__(self, settings: Settings, content: Content, handler: str, base: Registry, folder: Path) -> None:
        self.content, self._base, self._blobs = content, base, folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)
        reference = Reference.parse(settings.base_image)
        manifest = self._base_manifest(reference, settings.architecture)
        base.fetch(manifest["config"]["digest"], self._blob(manifest["config"]["digest"]))
        config = json.loads(self._blob(manifest["config"]["digest"]).read_bytes())
        if config.get("architecture") != _PROCESSORS[settings.architecture]:
            raise ContentError(f"{reference} is for {config.get('architecture')}, the function for {settings.architecture}")

        # Compressed sizes; unpacked, the base is larger.
        left = MOST - sum(descriptor["size"] for descriptor in manifest["layers"])
        content.check_size(left, f"an image on {reference}", "Leave some out of --requirements, or try --strip-tests")
        layers = [descriptor | {"mediaType": _LAYER} for descriptor in manifest["layers"]]
        packed, bare = content.write_layer(_TASK, self._blobs / "new")
        (self._blobs / "new").rename(self._blob(packed))
        layers.append(self._descriptor(_LAYER, packed))
        config["rootfs"]["diff_ids"].append(bare)
        config.setdefault("history", []).append({"created": _EPOCH, "created_by": "serverless-mp deploy"})
        config["config"] = _started(config.get("config") or {}, handler if not settings.is_custom else None)
        made = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._descriptor(_CONFIG, self._write(config)),
            "layers": layers,
        }
        self.digest = self._write(made)
        self._descriptors = [*layers, made["config"]]
        index = {"schemaVersion": 2, "manifests": [self._descriptor(_MANIFEST, self.digest)]}
        (folder / "index.json").write_text(json.dumps(index))
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def _base_manifest(self, reference: Reference, architecture: str) -> dict[str, Any]:
        """The manifest for the processor."""
        found: dict[str, Any] = json.loads(self._base.manifest(reference.version)[0])
        if "manifests" in found:
            wanted = {"os": "linux", "architecture": _PROCESSORS[architecture]}
            fits = [one["digest"] for one in found["manifests"] if wanted.items() <= one.get("platform", {}).items()]
            if not fits:
                raise ContentError(f"{reference} has no image for {architecture}")
            found = json.loads(self._base.manifest(fits[0])[0])
        others = {layer["mediaType"] for layer in found.get("layers", [])} - _LAYERS
        if others or "config" not in found:
            raise ContentError(f"{reference} is no image that Lambda takes: {', '.join(sorted(others)) or 'it has no layers'}")
        return found

    def push(self, repository: Registry, tag: str, progress: Callable[[int, int], None]) -> None:
        """Pushes the image into a repository, except for blobs that it already has."""
        for descriptor in self._descriptors:
            digest = descriptor["digest"]
            if not repository.has(digest):
                if not self._blob(digest).exists():
                    self._base.fetch(digest, self._blob(digest))
                repository.send(digest, self._blob(digest), progress)
        repository.put_manifest(tag, self._blob(self.digest).read_bytes(), _MANIFEST)

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def _write(self, part: dict[str, Any]) -> str:
        data = json.dumps(part, sort_keys=True, separators=(",", ":")).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._blob(digest).write_bytes(data)
        return digest

    def _descriptor(self, media_type: str, digest: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest, "size": self._blob(digest).stat().st_size}


def _started(config: dict[str, Any], handler: str | None) -> dict[str, Any]:
    """The configuration with which a container starts: the base's own with our handler, or our bootstrap."""
    task = f"/{_TASK}"
    environment = [one for one in config.get("Env") or [] if not one.startswith("LAMBDA_TASK_ROOT=")]
    config = config | {"Env": [*environment, f"LAMBDA_TASK_ROOT={task}"], "WorkingDir": task}
    return config | ({"Cmd": [handler]} if handler is not None else {"Entrypoint": [f"{task}/bootstrap"], "Cmd": []})

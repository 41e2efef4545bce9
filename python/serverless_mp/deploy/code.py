"""The code of a function, in the two forms that Lambda takes: a zip beside a layer, or a container image."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .content import Content, ContentError
from .image import Image
from .registry import Reference
from .repository import Repository
from .wheels import function_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import Settings

HANDLER = "serverless_mp_index.handler"
# Quotas of Lambda: unzipped, function and layers together; and what the API takes without S3.
_MOST_UNZIPPED = 250 << 20
_MOST_DIRECT = 50 << 20


class Code(Protocol):
    """What a function needs to know of its code."""

    kind: str

    def plan(self) -> str | None:
        """The step that is needed before there can be a function."""

    def send(self) -> None:
        """Takes it."""

    def clear(self) -> None:
        """Removes what the function no longer uses."""

    def configuration(self) -> dict[str, Any]:
        """The part of the function's configuration that depends on the form."""

    def is_current(self, now: dict[str, Any]) -> bool:
        """Whether a function, as `GetFunction` describes it, has this code."""

    def arguments(self) -> dict[str, Any]:
        """What the API is given."""


class Archive:
    """A zip of its own: with everything, or with what calls the layer."""

    kind = "Zip"

    def __init__(self, settings: Settings, content: Content, upload: Upload) -> None:
        most = "a function and its layers"
        content.check_size(_MOST_UNZIPPED, most, "Leave some out of --requirements, try --strip-tests, or use --image")
        self._runtime, self._upload = settings.runtime, upload
        self._data = (content if settings.in_function else Content(function_files(settings), {})).archive
        if settings.in_function:
            check_zip(self._data, settings)

    def plan(self) -> None:
        """None: it goes with the call that makes the function."""

    send = clear = plan

    def configuration(self) -> dict[str, Any]:
        """A managed runtime, or one in the zip."""
        return {"Runtime": self._runtime, "Handler": HANDLER}

    def is_current(self, now: dict[str, Any]) -> bool:
        """By the digest."""
        return bool(now["Configuration"]["CodeSha256"] == base64.b64encode(hashlib.sha256(self._data).digest()).decode())

    def arguments(self) -> dict[str, Any]:
        """The zip, or where it is."""
        return self._upload(self._data, "function")


class Container:
    """An image in the function's repository."""

    kind = "Image"

    def __init__(
        self, session: Any, settings: Settings, content: Content, folder: str, progress: Callable[[int, int], None]
    ) -> None:
        self._repository, self._progress = Repository(session, settings.function), progress
        base = Reference.parse(settings.base_image)
        registry = self._repository.registry(base.host, base.name)
        self._image = Image(settings, content, HANDLER, registry, Path(folder, "image"))

    def plan(self) -> str | None:
        """A repository."""
        return self._repository.plan()

    def send(self) -> None:
        """Into the repository."""
        self._repository.push(self._image, self._progress)

    def clear(self) -> None:
        """Images that this one has replaced."""
        self._repository.clear()

    def configuration(self) -> dict[str, Any]:
        """Everything is in the image."""
        return {}

    def is_current(self, now: dict[str, Any]) -> bool:
        """By the address, which has the digest."""
        return bool(now["Code"].get("ImageUri") == self._repository.address(self._image))

    def arguments(self) -> dict[str, Any]:
        """The image's address."""
        return {"ImageUri": self._repository.address(self._image)}


def check_zip(data: bytes, settings: Settings) -> None:
    """Raises ContentError for a zip that there is no way for."""
    if len(data) > _MOST_DIRECT and settings.bucket is None:
        raise ContentError(
            f"the packages' zip is {len(data) >> 20} MB; above {_MOST_DIRECT >> 20} MB it goes through S3: name a bucket with "
            "--bucket, or use --image"
        )


class Upload:
    """How a zip gets to AWS: in the call itself, or above 50 MB through S3."""

    def __init__(self, session: Any, settings: Settings, progress: Callable[[int, int], None]) -> None:
        self._session, self._settings, self._progress = session, settings, progress

    def __call__(self, data: bytes, kind: str) -> dict[str, Any]:
        """The arguments that say where it is."""
        if len(data) <= _MOST_DIRECT:
            return {"ZipFile": data}
        key = f"serverless-mp/{self._settings.function}/{kind}-{hashlib.sha256(data).hexdigest()}.zip"
        sent = 0

        def count(more: int) -> None:
            nonlocal sent
            sent += more
            self._progress(sent, len(data))

        self._session.client("s3").upload_fileobj(io.BytesIO(data), self._settings.bucket, key, Callback=count)
        return {"S3Bucket": self._settings.bucket, "S3Key": key}

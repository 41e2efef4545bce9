"""The code of a function, in the two forms that Lambda accepts: a zip with a layer, or a container image."""

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
# Quotas of Lambda: unzipped size of function and layers together, and the size that the API accepts without S3.
_MOST_UNZIPPED = 250 << 20
_MOST_DIRECT = 50 << 20


class Code(Protocol):
    """The operations on its code that a function needs."""

    kind: str

    def plan(self) -> str | None:
        """The step that is needed before the function can be created; None if there is none."""

    def send(self) -> None:
        """Takes that step."""

    def clear(self) -> None:
        """Removes what the function no longer uses."""

    def configuration(self) -> dict[str, Any]:
        """The part of the function's configuration that depends on the form."""

    def is_current(self, now: dict[str, Any]) -> bool:
        """Whether a function, as `GetFunction` describes it, has this code."""

    def arguments(self) -> dict[str, Any]:
        """The arguments of the API that describe the code."""


class Archive:
    """A zip, with all packages or with only the code that calls the layer."""

    kind = "Zip"

    def __init__(self, settings: Settings, content: Content, upload: Upload) -> None:
        most = "a function and its layers"
        content.check_size(_MOST_UNZIPPED, most, "Leave some out of --requirements, try --strip-tests, or use --image")
        self._runtime, self._upload = settings.runtime, upload
        self._data = (content if settings.in_function else Content(function_files(settings), {})).archive
        if settings.in_function:
            check_zip(self._data, settings)

    def plan(self) -> None:
        """Returns None: the zip is sent with the call that creates the function."""

    send = clear = plan

    def configuration(self) -> dict[str, Any]:
        """The runtime and the handler: a managed runtime, or one in the zip."""
        return {"Runtime": self._runtime, "Handler": HANDLER}

    def is_current(self, now: dict[str, Any]) -> bool:
        """Compares the digests."""
        return bool(now["Configuration"]["CodeSha256"] == base64.b64encode(hashlib.sha256(self._data).digest()).decode())

    def arguments(self) -> dict[str, Any]:
        """The zip, or its location in S3."""
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
        """The repository, if it must be created."""
        return self._repository.plan()

    def send(self) -> None:
        """Pushes the image into the repository."""
        self._repository.push(self._image, self._progress)

    def clear(self) -> None:
        """Deletes images that this one has replaced."""
        self._repository.clear()

    def configuration(self) -> dict[str, Any]:
        """Empty: everything is in the image."""
        return {}

    def is_current(self, now: dict[str, Any]) -> bool:
        """Compares the addresses, which contain the digest."""
        return bool(now["Code"].get("ImageUri") == self._repository.address(self._image))

    def arguments(self) -> dict[str, Any]:
        """The address of the image."""
        return {"ImageUri": self._repository.address(self._image)}


def check_zip(data: bytes, settings: Settings) -> None:
    """Raises ContentError for a zip that cannot be sent."""
    if len(data) > _MOST_DIRECT and settings.bucket is None:
        raise ContentError(
            f"the packages' zip is {len(data) >> 20} MB; above {_MOST_DIRECT >> 20} MB it goes through S3: name a bucket with "
            "--bucket, or use --image"
        )


class Upload:
    """Sends a zip to AWS: in the call itself, or above 50 MB through S3."""

    def __init__(self, session: Any, settings: Settings, progress: Callable[[int, int], None]) -> None:
        self._session, self._settings, self._progress = session, settings, progress

    def __call__(self, data: bytes, kind: str) -> dict[str, Any]:
        """The arguments that name the location of the zip."""
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

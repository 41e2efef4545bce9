"""The repository of a function's image in the account's registry (ECR)."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from .registry import Reference, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from .image import Image

_TAG = "serverless-mp"
_IMAGE = "latest"
# Lambda needs these permissions to pull an image from a repository of the same account.
_PULL = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]


class Repository:
    """The repository of one function. Raises ValueError for a repository that was not created for the function."""

    def __init__(self, session: Any, function: str) -> None:
        self._client = session.client("ecr")
        self._function = function
        # Names of repositories have no capital letters.
        self.name = function.lower()

    def find(self) -> dict[str, Any] | None:
        """The description of the repository; None if it does not exist."""
        try:
            found: dict[str, Any] = self._client.describe_repositories(repositoryNames=[self.name])["repositories"][0]
        except self._client.exceptions.RepositoryNotFoundException:
            return None
        return found

    def _owner(self, found: dict[str, Any]) -> str | None:
        tags = self._client.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
        return next((tag["Value"] for tag in tags if tag["Key"] == _TAG), None)

    def plan(self) -> str | None:
        """The step that is needed; None if there is none."""
        found = self.find()
        if found is None:
            return f"create repository {self.name}"
        if self._owner(found) != self._function:
            raise ValueError(f"repository {self.name} is there and not of function {self._function}: choose another name")
        return None

    def address(self, image: Image) -> str | None:
        """The address of an image in the repository; None while the repository does not exist."""
        found = self.find()
        return f"{found['repositoryUri']}@{image.digest}" if found is not None else None

    def registry(self, host: str, name: str) -> Registry:
        """A repository of any registry, with this account's credentials if it belongs to ECR in this region."""
        region = self._client.meta.region_name
        is_ours = re.fullmatch(rf"\d{{12}}\.dkr\.ecr\.{region}\.amazonaws\.com(\.cn)?", host) or host == self._host()
        return Registry(host, name, self._credentials() if is_ours else None)

    def _host(self) -> str | None:
        found = self.find()
        return Reference.parse(found["repositoryUri"]).host if found is not None else None

    def _credentials(self) -> tuple[str, str]:
        token = self._client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        name, _, password = base64.b64decode(token).decode().partition(":")
        return name, password

    def push(self, image: Image, progress: Callable[[int, int], None]) -> None:
        """Creates the repository if needed, and pushes the image."""
        found = self.find()
        if found is None:
            tags = [{"Key": _TAG, "Value": self._function}]
            found = self._client.create_repository(repositoryName=self.name, tags=tags)["repository"]
        statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": _PULL}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self._client.set_repository_policy(repositoryName=self.name, policyText=json.dumps(policy))
        place = Reference.parse(found["repositoryUri"])
        image.push(self.registry(place.host, place.name), _IMAGE, progress)

    def clear(self) -> None:
        """Deletes the images that the last push has replaced."""
        pages = self._client.get_paginator("list_images").paginate(repositoryName=self.name, filter={"tagStatus": "UNTAGGED"})
        old = [one for page in pages for one in page["imageIds"]]
        for some in (old[i : i + 100] for i in range(0, len(old), 100)):
            self._client.batch_delete_image(repositoryName=self.name, imageIds=some)

    def destroy(self) -> list[str]:
        """Deletes the repository with all images, if it was created for the function."""
        found = self.find()
        if found is None:
            return []
        if self._owner(found) != self._function:
            return [f"kept repository {self.name}: serverless-mp has not made it"]
        self._client.delete_repository(repositoryName=self.name, force=True)
        return [f"deleted repository {self.name}"]

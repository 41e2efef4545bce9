"""A function as a container image, from wheels and without Docker: `deploy --image` against a real registry."""

from __future__ import annotations

import json

import pytest
from emulator import PROGRAMS, wheel
from sandbox import images
from test_deploy import everything, lines
from test_refusals import make_wheel

from serverless_mp.deploy.content import ContentError
from serverless_mp.deploy.registry import Reference, Registry

pytestmark = pytest.mark.skipif(not images.possible(), reason=f"{images.SERVER} is not installed")
QUIET = lambda *_: None  # noqa: E731


@pytest.fixture(scope="module")
def registries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registries")
    started = images.Registries(folder)
    public = Registry(started.public, "python", images.Tokens.OWNER)
    parts = images.base()
    for name, data in parts.items():
        part = folder / "part"
        part.write_bytes(data)
        if name.startswith("sha256:"):
            public.send(name, part, QUIET)
        else:
            media_type = json.loads(data)["mediaType"]
            public.put_manifest(name, data, media_type)
    yield started
    started.close()


@pytest.fixture
def deployed(aws, registries):
    """Deploys functions as images, and destroys them at the end."""
    made = []
    aws.front.registry, aws.front.login = registries.account, images.LOGIN

    def deploy(name, *options, kind="custom"):
        made.append(name)
        return aws.deploy(name, "--image", "--base", f"{registries.public}/python", *options, kind=kind)

    yield deploy
    for name in made:
        aws.command("destroy", "--yes", "--function", name)
    aws.front.registry = ""


@pytest.mark.parametrize("kind", ["managed", "custom"])
def test_processes_run_in_an_image(aws, registries, deployed, kind, tmp_path):
    """The image is larger than a function with layers may be."""
    name = f"tests-image-{kind}"
    (tmp_path / "requirements.txt").write_text(str(make_wheel(tmp_path, "hugedata", 260 << 20)))
    plan = [
        f"create role {name}-worker",
        f"create repository {name}",
        f"create function {name}: image on {registries.public}/python, x86_64, 1769 MB, 60 s, no asynchronous retries",
    ]
    options = ("--timeout", 60, "--requirements", tmp_path / "requirements.txt")
    assert lines(deployed(name, *options, "--dry-run", kind=kind)) == plan
    assert everything(aws, name) == []  # a dry run creates nothing
    assert lines(deployed(name, *options, kind=kind))[:-1] == plan
    configuration = aws.client("lambda").get_function_configuration(FunctionName=name)
    assert configuration["PackageType"] == "Image"
    done = aws.run(name, PROGRAMS / "many.py", 4)
    assert done.stdout == "codes 0 1 2 3\nids 4\n", done.stderr
    status = "\n".join(lines(aws.command("status", "--function", name)))
    assert "runtime       image, x86_64" in status
    # The second time there is nothing to send.
    assert lines(deployed(name, *options, kind=kind)) == [f"function {name} is as it should be: nothing to do"]


def test_a_zip_becomes_an_image_and_a_zip_again(aws, registries, deployed):
    """A function's package type cannot change: the function is created again, and unused resources are deleted."""
    name = "tests-image-changed"
    lines(aws.deploy(name, "--environment", "A=1", kind="managed"))
    done = lines(deployed(name, kind="managed"))
    assert (
        f"create function {name} again (no function changes from Zip to Image): image on {registries.public}/python" in done[1]
    )
    client = aws.client("lambda")
    assert client.list_layer_versions(LayerName=name)["LayerVersions"] == []
    configuration = client.get_function_configuration(FunctionName=name)
    assert configuration["Environment"]["Variables"]["A"] == "1"
    # An image that a later one has replaced is deleted.
    ecr = aws.client("ecr")
    ecr.put_image(repositoryName=name, imageManifest="{}")
    ecr.put_image(repositoryName=name, imageManifest="[]", imageTag="latest")
    lines(aws.command("deploy", "--function", name, "--wheel", wheel(), "--memory", 512))
    assert [one["imageTag"] for one in ecr.list_images(repositoryName=name)["imageIds"]] == ["latest"]
    done = lines(aws.command("deploy", "--function", name, "--wheel", wheel(), "--no-image"))
    assert "again (no function changes from Image to Zip)" in "\n".join(done)
    assert f"deleted repository {name}" in done
    assert client.get_function_configuration(FunctionName=name)["PackageType"] == "Zip"


def test_destroy_removes_the_repository(aws, deployed):
    name = "tests-image-gone"
    lines(deployed(name))
    gone = lines(aws.command("destroy", "--yes", "--function", name))
    assert {f"deleted function {name}", f"deleted repository {name}"} <= set(gone)
    assert lines(aws.command("destroy", "--yes", "--function", name)) == ["nothing was there"]


def test_repository_of_somebody_else_is_kept(aws, deployed):
    name = "tests-image-theirs"
    aws.client("ecr").create_repository(repositoryName=name)
    done = deployed(name)
    assert f"repository {name} is there and not of function {name}: choose another name" in done.stderr
    assert f"kept repository {name}: serverless-mp has not made it" in lines(
        aws.command("destroy", "--yes", "--function", name)
    )
    aws.client("ecr").delete_repository(repositoryName=name)


def test_what_cannot_be_a_base(aws, registries, deployed):
    for base, said in (
        ("python:3.13", "--base python:3.13: must be an image with its registry, as in public.ecr.aws/lambda/python:3.13"),
        (f"{registries.public}/python:none", f"registry {registries.public} has no python, manifests/none"),
        (f"{registries.account}/python", f"registry {registries.account} refuses python (401): it must be a public image"),
        ("127.0.0.1:1/python", "registry 127.0.0.1:1: "),
    ):
        done = deployed("tests-image-bad", "--base", base)
        assert done.returncode == 1
        assert said in done.stderr
    done = deployed("tests-image-bad", "--architecture", "arm64")
    assert "has no image for arm64" in done.stderr or "no wheel" in done.stderr or "the wheel must be for" in done.stderr
    done = aws.deploy("tests-image-bad", "--base", f"{registries.public}/python")
    assert "--base is what an image is built on: it belongs to --image" in done.stderr


def test_a_registry_that_sends_other_bytes(registries, tmp_path):
    data = b"a layer"
    digest = images.digest(data)
    owner = Registry(registries.public, "damaged", images.Tokens.OWNER)
    (tmp_path / "layer").write_bytes(data)
    owner.send(digest, tmp_path / "layer", QUIET)
    assert owner.has(digest)
    stored = next(registries.folder.glob(f"public/data/**/{digest.removeprefix('sha256:')}/data"))
    stored.write_bytes(b"another")
    with pytest.raises(ContentError, match=f"has sent other bytes than those of {digest}"):
        Registry(registries.public, "damaged").fetch(digest, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("public.ecr.aws/lambda/python:3.13", ("public.ecr.aws", "lambda/python", "3.13")),
        ("localhost/a", ("localhost", "a", "latest")),
        (f"r.example:5000/a/b@sha256:{'0' * 64}", ("r.example:5000", "a/b", f"sha256:{'0' * 64}")),
    ],
)
def test_references(text, parts):
    assert Reference.parse(text) == parts

"""The files of a program's directory that travel to another machine."""

import io
import os
import zipfile

import pytest

from serverless_mp.program import bundle, files

SECRETS = """.env .env.local .netrc id_dsa id_rsa id_ed25519_sk id_rsa.old key.PEM x.KEY prod.env credentials credentials.json
k.ppk k.jks store.keystore secrets.yaml client_secret_1.json my-service-account.json .pgpass .htpasswd
aws_credentials.csv application_default_credentials.json""".split()
HARMLESS = """credentials.py secrets.py id_rsa.pub keyboard.txt environment.yml tokens.json monkey credentials_test_data.bin
key.txt""".split()


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "program"
    place.mkdir()
    return place


def names(folder, found):
    return sorted(os.path.relpath(path, folder) for path in found.paths)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_by_its_name(folder, name):
    (folder / name).write_text("")
    found = files.of_directory(str(folder), None)
    assert (found.paths, found.left_out) == ([], [(str(folder / name), "a secret, by its name")])


@pytest.mark.parametrize("name", HARMLESS)
def test_names_that_only_resemble_secrets(folder, name):
    (folder / name).write_text("")
    assert names(folder, files.of_directory(str(folder), None)) == [name]


@pytest.mark.parametrize(
    "content",
    [
        "-----BEGIN PRIVATE KEY-----",
        "some notes\n-----BEGIN RSA PRIVATE KEY-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        "PuTTY-User-Key-File-3: ssh-rsa",
    ],
)
def test_a_secret_by_its_content(folder, content):
    (folder / "notes.txt").write_text(content)
    found = files.of_directory(str(folder), None)
    assert (found.paths, found.left_out) == ([], [(str(folder / "notes.txt"), "it has a private key")])


def test_links(folder, tmp_path):
    """Links within the directory are followed once; links out of it do not travel."""
    (tmp_path / "other").mkdir()
    (folder / "data").mkdir()
    (folder / "data" / "file").write_text("")
    (folder / "data" / "up").symlink_to("..")
    (folder / "again").symlink_to("data")
    (folder / "one").symlink_to("data/file")
    (folder / "gone").symlink_to("nothing")
    (folder / "out").symlink_to(tmp_path / "other")
    found = files.of_directory(str(folder), None)
    assert names(folder, found) == ["again/file", "data/file", "one"]
    assert [path for path, _ in found.left_out] == [str(folder / "out")]


def test_links_to_files_that_do_not_travel(folder):
    """A link to a secret is as secret as the file itself."""
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("")
    (folder / ".env").write_text("")
    (folder / "settings").symlink_to(".env")
    (folder / "history").symlink_to(".git")
    (folder / "inside").symlink_to(".git/config")
    found = files.of_directory(str(folder), None)
    assert found.paths == []
    assert [os.path.basename(path) for path, _ in found.left_out] == [".env", "history", "inside", "settings"]


def test_names_of_tools_and_caches(folder):
    for name in (".git", "__pycache__", "node_modules", "venv", "package"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("")
    (folder / "venv" / "pyvenv.cfg").write_text("")
    (folder / "module.pyc").write_text("")
    assert names(folder, files.of_directory(str(folder), None)) == ["package/file"]


def test_only_the_names_that_are_asked_for(folder):
    (folder / "one.py").write_text("")
    (folder / "two.py").write_text("")
    assert names(folder, files.of_directory(str(folder), frozenset({"two.py"}))) == ["two.py"]


def test_a_bundle_can_be_entered(tmp_path):
    """The modes of directories and files in a bundle let users other than root read it."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "main.py").write_text("")
    (tmp_path / "own" / "tool.sh").write_text("")
    (tmp_path / "own" / "tool.sh").chmod(0o700)
    own = str(tmp_path / "own")
    payload = bundle._pack([own], {own: files.of_directory(own, None)})
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        modes = {info.filename: oct(info.external_attr >> 16 & 0o777) for info in archive.infolist()}
    assert modes == {"r0/": "0o755", "r0/main.py": "0o644", "r0/tool.sh": "0o755"}

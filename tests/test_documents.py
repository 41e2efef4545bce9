"""The documents: links are valid, commands exist, examples print what they say."""

import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serverless_mp import config

ROOT = Path(__file__).parent.parent
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("*/README.md"),
    ROOT / "python/serverless_mp/fork/README.md",
]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    found = [target for target in LINK.findall(page.read_text()) if not target.startswith(("http:", "https:"))]
    assert [target for target in found if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_make(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"\bmake ([a-z-]+)", " ".join(re.findall(r"`[^`]+`|^    make .*$", page.read_text(), re.MULTILINE)))
    assert set(named) - set(targets) == set()


def test_the_commands_that_a_store_must_allow():
    source = "\n".join(path.read_text() for kind in ("lua", "rs") for path in (ROOT / "src").rglob(f"*.{kind}"))
    used = set(re.findall(r"""(?:call\('|plain\("|\bcmd\(")([A-Z]+)""", source)) - {"FUNCTION", "CLIENT", "CLUSTER"}
    used |= {" ".join(pair) for pair in re.findall(r'cmd\("([A-Z]+)"\)\s*\.arg\("([A-Z]+)"\)', source)}
    listed = re.findall(r"`([A-Z ]+)`", (ROOT / "docs/design/operating.md").read_text())
    assert used - set(listed) == set()


def test_the_architecture_names_every_file():
    texts = [(ROOT / page).read_text() for page in ("ARCHITECTURE.md", "python/serverless_mp/fork/README.md")]
    words = {word for text in texts for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}
    stdlib = {name for path in Path(multiprocessing.__file__).parent.rglob("*.py") for name in (path.stem, path.parent.name)}
    sources = [*(ROOT / "src").rglob("*.rs"), *(ROOT / "python").rglob("[a-z]*.py")]
    files = {path.stem if path.stem != "mod" else path.parent.name for path in sources} - {"lib", "mod"}
    assert files - words - stdlib == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_exist(page):
    known = {setting.name for setting in config.SETTINGS} | {"SERVERLESS_MP_TEST_STORE", "SERVERLESS_MP_DEPLOYED"}
    assert set(re.findall(r"SERVERLESS_MP_[A-Z0-9_]+", page.read_text())) - known == set()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example):
    text = example.read_text()
    says = re.search(r"^Prints:\n\n(.*?)^\"\"\"", text, re.MULTILINE | re.DOTALL)[1]
    expected = re.sub(r"^    ", "", says, flags=re.MULTILINE)
    by = [] if "    python examples/" in text else ["-m", "serverless_mp", "run"]
    done = subprocess.run([sys.executable, *by, example], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == expected, done.stderr


def test_the_table_of_settings():
    env = os.environ | {"SERVERLESS_MP_WORKERS": "none"}
    command = [sys.executable, "-m", "serverless_mp", "settings"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert all(setting.name in done.stdout for setting in config.SETTINGS)
    assert "SERVERLESS_MP_WORKERS is 'none'; it must be a whole number" in done.stdout

"""A hook on a library's module runs once the module is complete, also if it is registered during the module's import."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from typing import TYPE_CHECKING

import pytest

from serverless_mp.program import import_hooks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("when", ["before", "within", "after"])
def test_hook(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    register = lambda: import_hooks.when_imported("stepped", lambda module: seen.append(module.whole))  # noqa: E731
    (tmp_path / "stepped.py").write_text("import sys\nsys.registrar()\nwhole = 'whole'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "registrar", register if when == "within" else lambda: None, raising=False)
    if when == "before":
        register()
    module = importlib.import_module("stepped")
    if when == "after":
        register()
    assert seen == ["whole"]
    assert type(module.__spec__) is importlib.machinery.ModuleSpec
    del sys.modules["stepped"]


def test_failed_import_runs_no_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        sys, "registrar", lambda: import_hooks.when_imported("failing", lambda m: seen.append(m.__name__)), raising=False
    )
    (tmp_path / "failing.py").write_text("import sys\nsys.registrar()\nraise ValueError\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError):
        importlib.import_module("failing")
    assert not seen
    assert "failing" not in sys.modules

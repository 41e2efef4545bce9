"""Sphinx' configuration. It generates the page of the settings from the table in `serverless_mp.config`."""

from pathlib import Path

from serverless_mp import config

project = "serverless_mp"
author = "the serverless_mp authors"
extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "serverless_mp"
nitpicky = True

GENERATED = Path(__file__).parent / "_generated"
GENERATED.mkdir(exist_ok=True)
(GENERATED / "settings.md").write_text(config.as_markdown(), encoding="utf-8")
exclude_patterns.append("_generated")

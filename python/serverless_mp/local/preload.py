"""The program's half of the preloaded zygote: which packages its workers need not import again."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import Any

from serverless_mp import config, installed
from serverless_mp.program import modules


@dataclass(frozen=True)
class Preload:
    """What a zygote of its own imports once, for its workers."""

    # Each module's name, and the file that it comes from.
    modules: list[tuple[str, str]]
    # Whether, and as what, multiprocessing is ours there.
    names: dict[str, Any]


def wanted() -> Preload | None:
    """The modules of chosen packages that the program has imported from its installation, in their order; or None."""
    chosen = {*config.preload(), *forkserver._forkserver._preload_modules}  # type: ignore[attr-defined]
    loaded = list(sys.modules.items())
    places = {name: os.path.dirname(_file(name, module)) for name, module in loaded if name in chosen}
    found = [(name, _file(name, module)) for name, module in loaded if places.get(name.partition(".")[0])]
    known = [(name, file) for name, file in found if file.startswith(places[name.partition(".")[0]] + os.sep)]
    return Preload(known, installed.state()) if known else None


def _file(name: str, module: Any) -> str:
    """The file of a module that can be imported by its name; of a package only from the installation. Else ''."""
    spec = getattr(module, "__spec__", None)
    file = getattr(spec, "origin", None)
    if getattr(spec, "name", None) != name or not isinstance(file, str) or not os.path.isabs(file):
        return ""
    return file if "." in name or modules.is_installed(file) else ""

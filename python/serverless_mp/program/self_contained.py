"""Whether a function can wait for nothing but itself: then nobody sees when it begins, nor whether it ran twice.

Such a function reaches only plain values, builtins, a few modules of the standard library and functions like itself. It has no
lock, queue, file or other object by which it could wait for what another process does, or tell what it does itself.
"""

from __future__ import annotations

import builtins
import dis
import types
from typing import Any

_PLAIN = (int, float, complex, str, bytes, bool, type(...))  # None may keep a place for something else
_MODULES = frozenset(
    [
        *("_operator", "base64", "binascii", "bisect", "cmath", "collections", "colorsys", "copy", "datetime", "decimal"),
        *("difflib", "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math", "numbers", "operator"),
        *("random", "re", "statistics", "string", "struct", "textwrap", "time", "unicodedata", "zlib"),
    ]
)
_NOT_ALLOWED = frozenset(
    [
        *("__import__", "breakpoint", "compile", "eval", "exec", "exit", "globals", "input", "locals", "open", "print", "quit"),
        "vars",
    ]
)


def is_self_contained(function: Any) -> bool:
    """Whether a callable is such a function."""
    return _is_allowed(function, set())


def _is_allowed(value: Any, seen: set[int]) -> bool:
    """Whether a value is plain, or a callable that is self-contained. `seen`: what is being looked at."""
    if id(value) in seen or type(value) in _PLAIN:
        return True
    seen.add(id(value))
    if type(value) in (tuple, frozenset):
        return all(_is_allowed(part, seen) for part in value)
    if type(value) is types.ModuleType:
        return value.__name__ in _MODULES
    if type(value) is types.FunctionType:
        return value.__module__ in _MODULES or _is_function_allowed(value, seen)
    if type(value) in (types.BuiltinFunctionType, type):
        is_bound = type(value) is types.BuiltinFunctionType and not isinstance(value.__self__, types.ModuleType)
        of_builtins = value.__module__ == "builtins" and value.__name__ not in _NOT_ALLOWED
        return not is_bound and (of_builtins or value.__module__ in _MODULES)
    return False


def _is_function_allowed(function: types.FunctionType, seen: set[int]) -> bool:
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    held = [value for value in (*defaults, *vars(function).values()) if value is not None]
    try:
        held += [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # a variable that is not set yet
        return False
    space, codes, attributes = function.__globals__, [function.__code__], set[str]()
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        for instruction in dis.get_instructions(code):
            if instruction.opname.startswith("IMPORT_"):
                return False
            if instruction.opname in {"LOAD_ATTR", "LOAD_METHOD"}:
                attributes.add(instruction.argval)
            if instruction.opname.endswith(("_GLOBAL", "_NAME", "_GLOBALS")):
                name = instruction.argval
                # A worker may have given a value to a name that has none here.
                if not instruction.opname.startswith("LOAD_") or (name not in space and name not in vars(builtins)):
                    return False
                held.append(space[name] if name in space else vars(builtins)[name])
    reached = [getattr(one, name, None) for one in held if type(one) is types.ModuleType for name in attributes]
    held += [one for one in reached if type(one) is types.ModuleType]
    return all(_is_allowed(value, seen) for value in held)

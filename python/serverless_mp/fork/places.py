"""The places where modules keep state, each with a path from the module and the value there.

A place is a global, an attribute of a class, or a value that a function keeps in its closure, its defaults or its attributes.
The objects that a module's import creates by itself are not state: functions and classes under their own names, and modules.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import types
import weakref
from typing import TYPE_CHECKING, Any

from serverless_mp.program.introspect import contents, is_a

from . import c_types, classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Path = tuple[str, ...]

# Steps of a path that are not attributes.
BASE, CELL, DEFAULTS, KWDEFAULTS, ATTRIBUTES, TYPE, MEMBER = (
    "<base>",
    "<cell>",
    "<defaults>",
    "<kwdefaults>",
    "<attributes>",
    "<type>",
    "<member>",
)

# Names that every import sets in the worker itself.
_OF_IMPORT = {
    f"__{name}__"
    for name in ["name", "doc", "package", "loader", "spec", "file", "cached", "builtins", "path", "annotations", "dict"]
}
_OF_IMPORT |= {
    "__warningregistry__",
    "__annotations_cache__",
    "__annotate__",
    "__annotate_func__",
    "__conditional_annotations__",
}
# In a class: descriptors that the interpreter creates from the class statement, and tables of C.
_OF_CLASS = (
    *(types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType, types.MethodDescriptorType),
    c_types.FIELD,
)
_PARTS_OF_PROPERTY = ("fget", "fset", "fdel")
_FUNCTIONS = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)

_OF_STATEMENT = {f"__{name}__" for name in ["module", "qualname", "weakref", "slots", "orig_bases", "parameters", "match_args"]}
_OF_STATEMENT |= {"__firstlineno__", "__static_attributes__", "__type_params__", "_abc_impl"}
_OF_STATEMENT |= {"__dataclass_fields__", "__dataclass_params__"}
_OF_ENUM = {"_member_names_", "_member_map_", "_member_type_", "_value2member_map_", "_unhashable_values_", "_use_args_"}
_OF_ENUM |= {
    "_new_member_",
    "_value_repr_",
    "_generate_next_value_",
    "_hashable_values_",
    "_unhashable_values_map_",
    "_sort_order_",
}
_OF_ENUM |= {"_all_bits_", "_boundary_", "_flag_mask_", "_inverted_", "_singles_mask_", "_ignore_", "_order_"}
# Attributes set by the definition of an enumeration member or of a function.
OF_DEFINITION = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_", "__wrapped__"})
_CODE = (types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType)
_CACHED: Any = functools._lru_cache_wrapper
_WITH_FUNCTIONS = (types.FunctionType, property, staticmethod, classmethod, _CACHED, functools.singledispatchmethod)
_WEAK = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet)
# The maximum number of steps in a path: decorators are seldom nested deeper, and functions may refer to one another.
_DEEPEST = 10


class Counter:
    """The number of objects examined, a measure of the cost of a start."""

    visited = 0


def home(value: Any) -> tuple[str, str]:
    """The module and the name that a function or class gives as its own."""
    try:
        return str(value.__module__), str(value.__qualname__)
    except AttributeError:
        return "", ""


def cells_of(function: types.FunctionType) -> Iterator[tuple[str, types.CellType]]:
    """The cells of a function, each with its name."""
    return zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


def shape(value: Any) -> Any:
    """A key that is equal for the same function, or property of functions, in two processes; None for anything else."""
    if is_a(value, types.FunctionType):
        return value.__code__.co_qualname, value.__code__.co_firstlineno
    parts = [shape(part) for _, part in parts_of(value)]
    return (type(value), *parts) if any(parts) else None


def spaces_of(module: Any) -> Iterator[tuple[Path, Any]]:
    """The globals of a module and the attributes of each class in it, with the path of the class."""
    ahead: list[tuple[Path, Any]] = [((), vars(module))]
    while ahead:
        path, space = ahead.pop()
        yield path, space
        inner = [((*path, name), value) for name, value in list(space.items()) if is_a(value, type)]
        ahead += [(at, vars(value)) for at, value in inner if home(value) == (module.__name__, ".".join(at))]


def places_of(module: Any, *, is_made_by: Callable[[Any], bool] | None = None) -> Iterator[tuple[Path, Any]]:
    """All places of a module. `is_made_by`, for modules of the program: whether the module's import creates a function under
    its name. Then only what such a function keeps is a place.
    """
    space = vars(module)
    name = str(space.get("__name__"))
    for attribute, value in list(space.items()):
        if attribute not in _OF_IMPORT:
            yield from _places(name, (attribute,), value, is_made_by)


def _places(module: str, path: Path, value: Any, is_made_by: Callable[[Any], bool] | None) -> Iterator[tuple[Path, Any]]:
    Counter.visited += 1
    kind = type(value)
    if issubclass(kind, type):
        if home(value) == (module, ".".join(path)):
            yield from _places_of_class(module, path, value, is_made_by)
        else:
            yield path, value
    elif is_made_by is None:
        yield path, value
        if issubclass(kind, _WITH_FUNCTIONS):
            yield from _places_kept_in(module, path, value)
    elif not issubclass(kind, _FUNCTIONS):
        yield path, value
    else:
        inner = list(_functions_of(path, value))
        if not inner or not all(_is_at_home(module, path, function, is_made_by) for _, function in inner):
            yield path, value
        for inside, function in inner:
            if home(function)[0] == module:
                yield from _places_of_function(module, inside, function, is_made_by)


def functions_within(module: str, path: Path, value: Any) -> Iterable[tuple[Path, types.FunctionType]]:
    """The functions of the module that a value consists of, and those in their closures, each with its path."""
    return _functions_within(module, path, value) if is_a(value, _WITH_FUNCTIONS) else ()


def _functions_within(module: str, path: Path, value: Any) -> Iterable[tuple[Path, types.FunctionType]]:
    if type(value) is types.FunctionType and not value.__closure__:  # the usual case
        return [(path, value)] if value.__module__ == module else ()
    return _nested_functions(module, path, value)


def _nested_functions(module: str, path: Path, value: Any) -> Iterator[tuple[Path, types.FunctionType]]:
    ahead = [(inside, function) for inside, function in _functions_of(path, value) if home(function)[0] == module]
    seen = set()
    while ahead:
        inside, function = ahead.pop()
        if id(function) not in seen:
            seen.add(id(function))
            yield inside, function
            if function.__closure__ and len(inside) < _DEEPEST:
                held = [(name, part) for name, part in variables_of(function) if is_a(part, types.FunctionType)]
                ahead += [
                    ((*inside, CELL, name), part)
                    for name, part in held
                    if "<locals>" in part.__qualname__ or home(part)[0] == module
                ]


def _functions_of(path: Path, value: Any) -> Iterator[tuple[Path, types.FunctionType]]:
    if is_a(value, types.FunctionType):
        yield path, value
    elif is_a(value, functools.singledispatchmethod):
        yield (*path, "dispatcher"), value.dispatcher
    elif type(value) is _CACHED and is_a(value.__wrapped__, types.FunctionType):
        yield (*path, "__wrapped__"), value.__wrapped__
    for step, part in parts_of(value):
        if is_a(part, types.FunctionType):
            yield (*path, step), part


def _is_at_home(module: str, path: Path, function: types.FunctionType, is_made_by: Callable[[Any], bool]) -> bool:
    return home(function) == (module, ".".join(path)) and is_made_by(function)


def parts_of(value: Any) -> list[tuple[str, Any]]:
    """The functions in a property, a static method or a class method, each with its name there."""
    if is_a(value, property):
        return [(name, getattr(value, name)) for name in _PARTS_OF_PROPERTY]
    return [("__func__", value.__func__)] if is_a(value, (staticmethod, classmethod)) else []


def _places_of_class(
    module: str, path: Path, cls: type, is_made_by: Callable[[Any], bool] | None
) -> Iterator[tuple[Path, Any]]:
    # A library's own code decides what the class statement creates.
    is_of_others = is_made_by is None or is_a(cls, enum.EnumMeta) or classes.runs_code(cls)
    members = cls._member_map_ if is_a(cls, enum.EnumMeta) else {}  # type: ignore[attr-defined]
    if is_made_by is not None:
        for name, member in members.items():
            yield (
                (*path, MEMBER, name, ATTRIBUTES),
                {key: kept for key, kept in vars(member).items() if key not in OF_DEFINITION},
            )
        if isinstance(cls.__doc__, str):
            yield (*path, "__doc__"), cls.__doc__
        # A decorator has replaced the class by a class derived from it.
        for number, base in enumerate(cls.__mro__[1:], 1):
            if home(base) == home(cls):
                yield (*path, BASE, str(number)), base
                yield from _places_of_class(module, (*path, BASE, str(number)), base, is_made_by)
                break
    of_statement = _OF_STATEMENT | c_types.made_of(cls)
    for attribute, value in list(vars(cls).items()):
        if is_a(value, _OF_CLASS) or attribute in _OF_IMPORT:
            continue
        is_function = is_a(value, _FUNCTIONS)
        # The class statement itself creates what decorators and metaclasses keep under special names.
        if not is_function and (
            attribute in members
            or attribute in _OF_ENUM
            or attribute in of_statement
            or (
                is_of_others
                and attribute.startswith("__")
                and attribute.endswith("__")
                and not _may_be_patched(value, is_made_by)
            )
        ):
            continue
        yield from _places(module, (*path, attribute), value, is_made_by)


def _may_be_patched(value: Any, is_made_by: Callable[[Any], bool] | None) -> bool:
    """In a class of a library: whether a value is, or may replace, a method."""
    return is_made_by is None and (value is None or callable(value) or type(value) in (str, int, float, bool))


def _places_kept_in(module: str, path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """The values that the functions of a library within a value keep."""
    for inside, function in _functions_within(module, path, value):
        if function.__defaults__ or function.__kwdefaults__ or function.__closure__ or function.__dict__:
            yield from _places_kept_by(inside, function)


def _places_kept_by(path: Path, function: types.FunctionType) -> Iterator[tuple[Path, Any]]:
    for step, value in ((DEFAULTS, function.__defaults__), (KWDEFAULTS, function.__kwdefaults__)):
        if value:
            yield (*path, step), value
    for key, value in list(vars(function).items()):
        if not (key.startswith("__") or is_a(value, (*_CODE, types.MappingProxyType))):
            yield (*path, ATTRIBUTES, key), value
    for name, value in variables_of(function):
        if name != "__class__" and not is_a(value, (types.ModuleType, *_WEAK)):
            yield (*path, CELL, name), value


def kept_by(function: types.FunctionType) -> list[Any]:
    """All values that a function keeps."""
    kept = [function.__defaults__, *vars(function).values()]
    if function.__kwdefaults__:
        kept += function.__kwdefaults__.values()
    if function.__closure__:
        kept += contents(function.__closure__)
    return kept


def variables_of(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The names and contents of the filled cells of a function."""
    for name, cell in cells_of(function):
        with contextlib.suppress(ValueError):
            yield name, cell.cell_contents


def _places_of_function(
    module: str, path: Path, function: types.FunctionType, is_made_by: Callable[[Any], bool]
) -> Iterator[tuple[Path, Any]]:
    Counter.visited += 1
    if function.__defaults__:
        yield (*path, DEFAULTS), function.__defaults__
    if function.__kwdefaults__:
        yield (*path, KWDEFAULTS), function.__kwdefaults__
    attributes = {key: value for key, value in vars(function).items() if key not in OF_DEFINITION}
    if attributes:
        yield (*path, ATTRIBUTES), attributes
        # Attributes of the function itself, which the worker's function has as well.
        for key, value in attributes.items():
            if is_a(value, types.FunctionType) and "<locals>" in value.__qualname__:
                yield (*path, ATTRIBUTES, key), value
    for name, content in variables_of(function):
        inner = (*path, CELL, name)
        if is_a(content, types.FunctionType) and len(inner) <= _DEEPEST:
            # A function that a decorator has wrapped, or one defined beside this one.
            yield inner, content
            yield from _places_of_function(module, inner, content, is_made_by)
        elif name != "__class__" and not is_a(content, _CODE):
            yield inner, content

"""Classes that no import creates in a worker: those of `__main__`, and those created by code.

Most of them are rebuilt from their parts without running any code. But some libraries run code when a class is defined (a
metaclass, `__init_subclass__`), and its results (validators, tables) cannot be pickled or set. For such a class of `__main__`,
the compiled statement that defines it is transferred, with the objects that it needs and the attributes that were set since.
"""

from __future__ import annotations
import __future__

import abc
import contextlib
import enum
import functools
import inspect
import os
import sys
import types
import typing
from typing import TYPE_CHECKING, Any

import cloudpickle

from serverless_mp.program import BEGUN, modules
from serverless_mp.program.introspect import is_a, module_of_class

from . import c_types, names_in_code

if TYPE_CHECKING:
    from collections.abc import Iterator

# Metaclasses of classes that consist of their attributes only.
_PLAIN = (type, abc.ABCMeta, enum.EnumMeta, type(typing.Protocol))
_PLAIN_BASES = ("abc", "builtins", "collections", "enum", "typing", "_ctypes", "ctypes._endian")
# Functions that run when a class is defined.
_RUN = ("__new__", "__init__", "__prepare__", "__call__", "__init_subclass__", "__set_name__", "__class_getitem__")
# Types of values that a program sets in a class: data, and objects that synchronise processes.
_DATA = (int, float, complex, str, bytes, bool, type(None), tuple, frozenset)
_SYNCHRONISES = ("serverless_mp.", "multiprocessing.")
CONTAINERS = (dict, list, set)


def definition_of(cls: type, being_defined: set[type]) -> Any:
    """The reduced form of a class that is defined again in the worker; None if that is not needed or not possible."""
    found = _statement(cls)
    if found is None:
        return None
    being_defined.add(cls)
    space = vars(sys.modules["__main__"])
    wanted = [name for name in _needed(cls, found) if name in space]
    needed = {name: space[name] for name in wanted if _comes_first(space[name], being_defined)}
    return _define, (found.name, found.code, needed), _set_since(cls), None, None, _set


def statement(cls: type) -> types.CodeType | None:
    """The compiled statement that defines a class; None if there is none or it need not run."""
    found = _statement(cls)
    return None if found is None else found.code


def _statement(cls: type) -> _Statement | None:
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or not runs_code(cls):
        return None
    names = [name for name, value in list(vars(main).items()) if value is cls]
    try:
        known = [one for name in names for one in _statements(path).get(name, [])]
    except (OSError, SyntaxError, ValueError):  # no script, or a compiled one
        return None
    if cls.__module__ in modules.OF_MAIN:
        found = [one for one in known if one.maker is None and one.name == cls.__qualname__]
    elif vars(sys.modules.get(cls.__module__, main)).get(cls.__qualname__) is cls:
        return None  # it is imported
    else:
        found = []
    # A class that a library's function has made.
    found = found or [one for one in known if one.maker is not None and not modules.is_of_program(vars(main).get(one.maker))]
    if len(found) > 1:
        lines = {part.__code__.co_firstlineno for part in vars(cls).values() if is_a(part, types.FunctionType)}
        found = [one for one in found if any(one.first <= line <= one.last for line in lines)]
    return found[0] if len(found) == 1 else None


def registers(classes: list[type]) -> dict[str, Any]:
    """The registers, by place, of classes that are defined again and of their bases. The definition fills them once more."""
    bases = {base: base.__qualname__ for cls in classes for base in cls.__mro__ if base.__module__ in modules.OF_MAIN}
    bases |= {cls: found.name for cls in classes if (found := _statement(cls)) is not None}
    return {
        f"{place}.{name}": part
        for base, place in bases.items()
        for name, part in list(vars(base).items())
        if type(part) in CONTAINERS and not name.startswith("__")
    }


def runs_code(cls: type) -> bool:
    """Whether code of a library runs when the class is defined. Such code may record the class outside of the program."""
    metaclasses = [base for base in type.mro(type(cls)) if base is not object and base not in _PLAIN]
    initializing = [base for base in cls.__mro__[1:] if "__init_subclass__" in vars(base)]
    made_by = {base.__module__ for base in [*metaclasses, *initializing]}.difference(_PLAIN_BASES, modules.OF_MAIN)
    return not all(modules.is_own(sys.modules.get(name)) for name in made_by)


class _Statement(typing.NamedTuple):
    """A statement of `__main__` that binds a name to a class, or may do so: a class statement or the call of a function."""

    name: str
    # For a call: the name from which the function is reached.
    maker: str | None
    first: int
    last: int
    code: types.CodeType


@functools.cache
def _statements(path: str) -> dict[str, list[_Statement]]:
    import ast  # noqa: PLC0415 - rarely needed

    if os.stat(path).st_mtime > BEGUN:
        return {}
    with open(path, "rb") as f:
        tree = ast.parse(f.read(), path)
    found: dict[str, list[_Statement]] = {}
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            flags |= sum(getattr(__future__, alias.name).compiler_flag for alias in node.names)

    def visit(body: list[Any]) -> None:
        for node in body:
            name, maker = (node.name, None) if isinstance(node, ast.ClassDef) else _made_by_call(node)
            if name is not None:
                code = compile(ast.Module([node], []), path, "exec", flags, dont_inherit=True)
                one = _Statement(name, maker, node.lineno, node.end_lineno or node.lineno, code)
                found.setdefault(name, []).append(one)
            for part in ("body", "orelse", "finalbody") if isinstance(node, (ast.If, ast.Try, ast.With)) else ():
                visit(getattr(node, part, []))
            if isinstance(node, ast.Try):
                visit([child for handler in node.handlers for child in handler.body])

    visit(tree.body)
    return found


def _made_by_call(node: Any) -> tuple[str | None, str | None]:
    """For `name = function(...)`: the name, and the one from which the function is reached. Otherwise None."""
    import ast  # noqa: PLC0415 - as above

    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    value = getattr(node, "value", None)
    if len(targets) != 1 or not isinstance(targets[0], ast.Name) or not isinstance(value, ast.Call):
        return None, None
    function = value.func
    while isinstance(function, ast.Attribute):
        function = function.value
    return (targets[0].id, function.id) if isinstance(function, ast.Name) else (None, None)


def _needed(cls: type, statement: _Statement) -> set[str]:
    """The names that the definition looks up: in its statement and body, and in the functions that these run."""
    space = vars(sys.modules["__main__"])
    names = {name for part in _run_by(statement.code) for name in names_in_code.looked_up(part)}
    needed = names - {cls.__qualname__, statement.name}
    run = [vars(kind).get(name) for kind in (*type.mro(type(cls)), *cls.__mro__[1:]) for name in _RUN]
    ahead = [*run, *(space.get(name) for name in needed)]
    seen: set[int] = set()
    while ahead:
        function: Any = ahead.pop()
        if is_a(function, (classmethod, staticmethod)):
            function = function.__func__
        if is_a(function, types.FunctionType) and function.__globals__ is space and id(function) not in seen:
            seen.add(id(function))
            more = names_in_code.names(function.__code__).globals - {cls.__qualname__}
            needed |= more
            ahead += [space.get(name) for name in more]
    return needed


def _run_by(code: types.CodeType) -> list[types.CodeType]:
    """The code that runs with a statement: its own, the bodies of classes, and comprehensions."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    run = (one for one in inner if not one.co_flags & inspect.CO_NEWLOCALS or one.co_name in _COMPREHENSIONS)
    return [code, *(part for one in run for part in _run_by(one))]


_COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


def _comes_first(value: Any, being_defined: set[type]) -> bool:
    """Whether a value is needed before the class, which is false if it is made of the class itself."""
    return value not in being_defined if is_a(value, type) else type(value) not in being_defined


def _set_since(cls: type) -> dict[str, Any]:
    own = f"{cls.__qualname__}."
    return {
        name: part
        for name, part in vars(cls).items()
        if not name.startswith("__")
        and not _is_of_metaclass(cls, name)
        and (
            type(part) in _DATA
            or module_of_class(type(part)).startswith(_SYNCHRONISES)
            # A function that was set after the definition.
            or (is_a(part, types.FunctionType) and not part.__qualname__.startswith(own))
        )
    }


# ---- put together ----------------------------------------------------------------------------------------------


# Attributes that each class gets by being created, or from its file.
_BY_BEING_MADE = {"__module__", "__qualname__", "__dict__", "__weakref__", "__annotate_func__", "__annotate__", "_abc_impl"}
_AT_ONCE = ("__class__", "__name__", "__slots__", "__firstlineno__", "__static_attributes__", "__doc__", "__orig_bases__")


def reduce_class(cls: type) -> Any:
    """The reduced form of a class. It is created empty, since its functions may refer to it, and filled later."""
    if is_a(cls, enum.EnumMeta):
        make, arguments, state, *_ = cloudpickle.cloudpickle._dynamic_class_reduce(cls)
        # All names, those of combinations of flags and second names included.
        members = {name: _as_member(member._value_) for name, member in cls._member_map_.items()}  # type: ignore[attr-defined]
        arguments = (*arguments[:3], members, *arguments[4:])
        kept = {name: dict(vars(member)) for name, member in cls._member_map_.items()}  # type: ignore[attr-defined]
        return make, arguments, (state, kept), None, None, _fill_enum
    space = {name: part for name, part in vars(cls).items() if not _is_slot(part)}
    at_once = {name: space[name] for name in space if name in _AT_ONCE or _is_of_metaclass(cls, name)}
    at_once |= {name: space[name] for name in c_types.definition_of(cls) & space.keys()}
    at_once |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    # The state of the class may contain sets and dictionaries of its objects, which need these methods early.
    at_once |= {name: space[name] if _is_alone(space[name]) else _not_yet for name in ("__eq__", "__hash__") if name in space}
    by_being_made = _BY_BEING_MADE | c_types.made_of(cls)
    state = {
        name: part for name, part in space.items() if at_once.get(name, _not_yet) is not part and name not in by_being_made
    }
    layouts = c_types.layouts(cls) if issubclass(cls, c_types.DATA) else None
    registered = [found for one in abc._get_dump(cls)[0] if (found := one())] if "_abc_impl" in space else []  # type: ignore[attr-defined]
    return _make_class, (type(cls), cls.__name__, cls.__bases__, at_once), (layouts, state, registered), None, None, _fill_class


def _as_member(value: Any) -> Any:
    """The value of a member as a class statement takes it: a function would be a method."""
    return enum.member(value) if hasattr(type(value), "__get__") else value


def _is_alone(part: Any) -> bool:
    """Whether a function refers to globals only, so that it can be created before its class."""
    if not is_a(part, types.FunctionType):
        return part is None
    return not (part.__closure__ or part.__defaults__ or part.__kwdefaults__ or vars(part))


def _not_yet(*_: Any) -> Any:
    message = "its class has not been rebuilt yet"
    raise RuntimeError(message)


def _is_slot(part: Any) -> bool:
    return is_a(part, (types.MemberDescriptorType, types.GetSetDescriptorType, c_types.FIELD))


def _is_of_metaclass(cls: type, name: str) -> bool:
    """Whether the metaclass has a property or slot of this name, so that only the class statement can set it."""
    if type(cls) in _PLAIN:
        return False
    found = next((vars(base)[name] for base in type.mro(type(cls)) if name in vars(base)), None)
    return hasattr(type(found), "__set__") and not name.startswith("__")


def _make_class(meta: Any, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> type:
    """Creates a class without running code of its metaclass or its bases."""
    maker = _maker(meta)
    with _silent({above for base in bases for above in type.mro(base) if above.__module__ not in _PLAIN_BASES}):
        cls: type = maker.__new__(meta, name, bases, dict(space))
        if maker not in {type, abc.ABCMeta}:
            maker.__init__(cls, name, bases, dict(space))
        return cls


def set_attribute(cls: Any, name: str, value: Any) -> None:
    """Sets an attribute without running code of the metaclass."""
    _maker(type(cls)).__setattr__(cls, name, value)


def delete_attribute(cls: Any, name: str) -> None:
    """Deletes an attribute without running code of the metaclass."""
    _maker(type(cls)).__delattr__(cls, name)


def _maker(meta: Any) -> Any:
    """The first metaclass in the MRO that is implemented in C."""
    return next(base for base in meta.__mro__ if base in {type, abc.ABCMeta} or base.__module__ == "_ctypes")


@contextlib.contextmanager
def _silent(bases: set[type]) -> Iterator[None]:
    """Disables `__init_subclass__` of these bases while a class is created."""
    told = [(base, vars(base)["__init_subclass__"]) for base in bases if "__init_subclass__" in vars(base)]
    for base, _ in told:
        type.__setattr__(base, "__init_subclass__", classmethod(lambda *_, **__: None))
    try:
        yield
    finally:
        for base, own in told:
            type.__setattr__(base, "__init_subclass__", own)


def _fill_enum(cls: Any, content: tuple[Any, dict[str, dict[str, Any]]]) -> None:
    state, kept = content
    cloudpickle.cloudpickle._class_setstate(cls, state)
    for name, attributes in kept.items():
        vars(cls._member_map_[name]).update(attributes)


def _fill_class(cls: type, content: tuple[None, dict[str, Any], list[type]]) -> None:
    _, state, registered = content
    for name, value in state.items():
        set_attribute(cls, name, value)
    for other in registered:
        abc.ABCMeta.register(cls, other)  # type: ignore[arg-type]


# ---- defined again ---------------------------------------------------------------------------------------------


def _define(name: str, code: types.CodeType, needed: dict[str, Any]) -> Any:
    space = sys.modules["__main__"].__dict__
    for other, value in needed.items():
        space.setdefault(other, value)
    if not is_a(space.get(name), type):
        exec(code, space)  # noqa: S102 - the program's own code
    return space[name]


def _set(cls: type, state: dict[str, Any]) -> None:
    for name, value in state.items():
        type.__setattr__(cls, name, value)

"""The settings that a program has made in libraries that keep their state in C or in another special way."""

from __future__ import annotations

import contextvars
import operator
import random
import sys
import types
from functools import partial  # by its name: a program may put a mock in its place
from typing import TYPE_CHECKING, Any

from serverless_mp.program import import_hooks, modules

from . import c_objects, comparison
from .missing import Missing

if TYPE_CHECKING:
    from collections.abc import Callable


def _get_numpy() -> Any:
    return sys.modules["numpy.random"].get_state()


def _set_numpy(value: Any) -> None:
    import_hooks.when_imported("numpy.random", lambda module: module.set_state(value))  # type: ignore[attr-defined]


def _get_print_options() -> Any:
    numpy: Any = sys.modules["numpy"]
    return numpy.get_printoptions(), numpy.geterr(), numpy.geterrcall()


def _set_print_options(value: Any) -> None:
    printed, errors, call = value

    def apply(module: Any) -> None:
        module.set_printoptions(**{key: option for key, option in printed.items() if key != "override_repr"})
        module.seterr(**errors)
        if not isinstance(call, Missing):
            module.seterrcall(call)

    import_hooks.when_imported("numpy", apply)


def _get_torch() -> Any:
    torch: Any = sys.modules["torch"]
    return torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()


def _set_torch(value: Any) -> None:
    state, threads, kind, is_grad_enabled = value

    def apply(torch: Any) -> None:
        torch.set_rng_state(state)
        torch.set_num_threads(threads)
        torch.set_default_dtype(kind)
        torch.set_grad_enabled(is_grad_enabled)

    import_hooks.when_imported("torch", apply)


def _get_django() -> Any:
    settings = sys.modules["django.conf"].settings
    if not settings.configured:
        return None
    # Settings that differ from the settings module: set since, or given to `configure()`.
    wrapped = object.__getattribute__(settings, "__dict__")["_wrapped"]
    has_module = type(wrapped).__name__ == "Settings"
    said = vars(sys.modules[wrapped.SETTINGS_MODULE]) if has_module else {}
    given = {name: value for name, value in vars(wrapped).items() if name.isupper() and name != "SETTINGS_MODULE"}
    usual = vars(sys.modules["django.conf"].global_settings)
    changed = {name: value for name, value in given.items() if said.get(name, usual.get(name)) is not value}
    apps = sys.modules.get("django.apps")
    return has_module, changed, apps is not None and apps.apps.ready


def _set_django(value: tuple[bool, dict[str, Any], bool]) -> None:
    import django  # noqa: PLC0415 - only if the program uses it
    from django.conf import settings  # noqa: PLC0415 - the same

    has_module, changed, is_ready = value
    if not has_module:
        settings.configure(**changed)
    if is_ready:
        django.setup()
    for name, one in changed.items() if has_module else ():
        setattr(settings, name, one)


def _set_libraries(_: Any) -> None:
    """Does nothing: reading the libraries has found and filled them."""


# The place of each context variable of an installed module: its module and its name there; None if it was not found.
_places: dict[contextvars.ContextVar[Any], tuple[str, str] | None] = {}


def _get_variables() -> Any:
    """The values in this context of the context variables of installed modules, by place."""
    found = {}
    for variable, value in contextvars.copy_context().items():
        if variable not in _places:
            _places[variable] = _place_of(variable)
        place = _places[variable]
        if place is not None:
            found[place] = value
    return found or None


def _place_of(variable: contextvars.ContextVar[Any]) -> tuple[str, str] | None:
    for name, module in list(sys.modules.items()):
        if type(module) is types.ModuleType and name.partition(".")[0] not in _WITH_OWN_SETTINGS and not modules.is_own(module):
            for attribute, value in list(vars(module).items()):
                if value is variable and name not in modules.OF_MAIN:
                    return name, attribute
    return None


# Their context variables hold what other settings tell.
_WITH_OWN_SETTINGS = frozenset({"numpy", "decimal", "_decimal", "_pydecimal", "warnings"})


def _set_variables(values: dict[tuple[str, str], Any]) -> None:
    for (name, attribute), value in values.items():
        if not isinstance(value, Missing):
            import_hooks.when_imported(name, partial(_set_variable, attribute, value))


def _set_variable(attribute: str, value: Any, module: Any) -> None:
    vars(module)[attribute].set(value)


# How many names each installed module had when its generators of random numbers were looked for, and the names of those.
_generators: dict[str, tuple[int, list[str]]] = {}


def _get_generators() -> Any:
    """The states of the generators of random numbers that installed modules have made, by place."""
    kinds = _kinds_of_generators()
    numpy = sys.modules.get("numpy.random.mtrand")
    # The common ones have rules of their own: numpy's above, and that of the interpreter starts anew in each process.
    found, seen = {}, {id(getattr(numpy, "_rand", None)), id(random._inst)}  # type: ignore[attr-defined]
    for name, module in list(sys.modules.items()):
        if type(module) is not types.ModuleType or not comparison.counts(name):
            continue
        space = vars(module)
        count, names = _generators.get(name, (-1, []))
        if count != len(space):
            names = [own for own, value in list(space.items()) if type(value) in kinds]
            _generators[name] = len(space), [] if names and modules.is_own(module) else names
        for own in _generators[name][1]:
            generator = space.get(own)
            get = kinds.get(type(generator))
            if get is not None and id(generator) not in seen:
                seen.add(id(generator))
                found[name, own] = get[0](generator)
    return found or None


def _set_generators(states: dict[tuple[str, str], Any]) -> None:
    for (name, own), state in states.items():
        import_hooks.when_imported(name, partial(_set_generator, own, state))


def _set_generator(own: str, state: Any, module: Any) -> None:
    generator = vars(module).get(own)
    found = _kinds_of_generators().get(type(generator))
    if found is not None:
        found[1](generator, state)


def _kinds_of_generators() -> dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]]:
    """For each type of generators, how its state is read and set."""
    kinds: dict[type, Any] = {random.Random: (random.Random.getstate, random.Random.setstate)}
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None:
        state = operator.attrgetter("bit_generator.state")
        kinds[numpy.Generator] = state, lambda generator, value: setattr(generator.bit_generator, "state", value)
        kinds[numpy.RandomState] = partial(numpy.RandomState.get_state, legacy=False), numpy.RandomState.set_state
    return kinds


# For each: the function that reads it, the function that sets it, and the module without which it has its default.
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str]] = {
    "numpy.random": (_get_numpy, _set_numpy, "numpy.random"),
    "numpy": (_get_print_options, _set_print_options, "numpy"),
    "torch": (_get_torch, _set_torch, "torch"),
    "generators": (_get_generators, _set_generators, "random"),
    "context variables": (_get_variables, _set_variables, "contextvars"),
    "libraries of C": (c_objects.libraries, _set_libraries, "ctypes"),
}
# The modules of a Django project can only be imported after Django is set up.
BEFORE: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str]] = {
    "django": (_get_django, _set_django, "django.conf"),
}

"""Object graphs that are nested more deeply than the interpreter's stack allows are written one object after the other.

A pickler writes the content of an object before it has finished the object itself, so a linked list of 250 nodes is too deep
for it. Here objects and containers are first written empty, and their content follows in later steps of the same pickle.
Objects that cannot be created empty and filled (tuples, objects with a hash of their own) are still written at once.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A pickler asks for two items before it writes the first one, which may add more.
_EMPTY_STEPS = 2
_ROOT = 1


class Step(NamedTuple):
    """A step that fills an object. A worker runs it when it reads it."""

    fill: Callable[[Any, Any], None]
    target: Any
    content: Any


class Steps(list[Any]):
    """The list that a worker reads: it contains the object itself and the results of the steps."""

    def result(self) -> Any:
        """The object that was written."""
        return self[_ROOT]


class Queue:
    """The steps that are still to be written for one object."""

    def __init__(self, root: Any, name: Callable[[Any], bool], *, is_content: bool) -> None:
        """`name` gives a container a persistent id; it returns False if the container has one or was written.

        `is_content`: the root is an object that the worker has, together with the content to be filled in.
        """
        self._name = name
        # Steps, and containers whose parts are looked at when it is their turn.
        self._ahead: collections.deque[Any] = collections.deque()
        self._root: Any
        # Objects written in the place of parts. They are known by their ids, so they must stay alive.
        self.alive: list[Any] = []
        if is_content:
            own, content = root
            self._root = own, self._without_parts(content)
        else:
            self._root = root
            self._postpone(root)

    def items(self) -> Iterator[Any]:
        """The items to be written, a list that grows meanwhile."""
        yield None
        yield self._root
        empty = 0
        while empty < _EMPTY_STEPS:
            empty = 0 if self._ahead else empty + 1
            one = self._ahead.popleft() if self._ahead else None
            yield self._fill(one) if type(one) in (list, dict) else one

    def put(self, fill: Any, target: Any, state: Any) -> None:
        """Adds the content of an object that is written without it."""
        self._ahead.append(Step(fill, target, self._without_parts(state)))

    def _fill(self, container: Any) -> Step:
        is_dict = type(container) is dict
        values = tuple(container.values() if is_dict else container)
        self._postpone(values)
        return Step(_fill_dict, container, (tuple(container), values)) if is_dict else Step(_fill_list, container, values)

    def _without_parts(self, state: Any) -> Any:
        """A state in which all containers except its own are still empty."""
        if type(state) is tuple:
            return tuple(map(self._without_parts, state))
        if type(state) not in (list, dict):
            return state
        for part in state.values() if type(state) is dict else state:
            self._postpone(part)
        self.alive.append(state.copy())
        return self.alive[-1]

    def _postpone(self, part: Any) -> None:
        if type(part) is tuple:
            for one in part:
                if type(one) in (list, dict):
                    self._postpone(one)
        elif type(part) in (list, dict) and self._name(part):
            self._ahead.append(part)


def reduce_queue(queue: Queue) -> Any:
    """The reduced form of the whole queue."""
    return Steps, (), None, queue.items()


def reduce_step(step: Step) -> Any:
    """The reduced form of one step."""
    return step.fill, (step.target, step.content)


def _fill_list(target: list[Any], content: tuple[Any, ...]) -> None:
    target.extend(content)


def _fill_dict(target: dict[Any, Any], content: tuple[tuple[Any, ...], tuple[Any, ...]]) -> None:
    target.update(zip(*content, strict=True))

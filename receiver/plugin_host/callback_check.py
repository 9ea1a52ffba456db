"""Checks the parameters of a plugin's functions when it is loaded.

It checks the number of parameters and their annotations: `event: Event[DeliveryReport]` below
`on_message` means that two decorators were confused. Annotations that cannot be read, or are not
certainly wrong, pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from receiver.events import Data, Event

Function = Callable[..., Any]

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def takes(function: Function, arguments: int) -> bool:
    """Returns True if it can be called with this many arguments, by position."""
    try:
        inspect.signature(function).bind(*range(arguments))
    except (TypeError, ValueError):
        return False
    return True


def parameters(function: Function) -> str:
    """Returns the names of the parameters: `(event, *, context)`."""
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
    ]
    return str(inspect.Signature(bare))


def foreign_event(function: Function, kinds: Collection[type[Data]]) -> str | None:
    """Returns the annotation of the first parameter, unless it is an event of these kinds."""
    return _refused(function, 0, lambda annotation: _may_be_event(annotation, kinds))


def foreign_context(function: Function, context: type) -> str | None:
    """Returns the annotation of the second parameter, unless it is a context."""
    return _refused(function, 1, lambda annotation: _may_be(annotation, context))


def _refused(function: Function, position: int, accepts: Callable[[object], bool]) -> str | None:
    given = [p for p in inspect.signature(function).parameters.values() if p.kind in _BY_POSITION]
    if len(given) <= position or given[position].annotation is inspect.Parameter.empty:
        return None
    parameter = given[position]
    annotation = _evaluated(parameter.annotation, function)
    if any(accepts(member) for member in _members(annotation)):
        return None
    return inspect.formatannotation(annotation).replace("receiver.events.", "")


def _evaluated(annotation: object, function: Function) -> object:
    """Evaluates an annotation that is a string; returns Any if that fails."""
    if not isinstance(annotation, str):
        return annotation
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return eval(annotation, names)  # noqa: S307 - the plugin's own code, which runs anyway
    except Exception:  # noqa: BLE001 - such as a name that is imported for type checkers only
        return Any


def _members(annotation: object) -> Iterator[object]:
    """Yields the members of a union; any other type as its only member."""
    if get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    elif get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    else:
        yield annotation


def _may_be_event(annotation: object, kinds: Collection[type[Data]]) -> bool:
    if get_origin(annotation) is Event:
        (data,) = get_args(annotation)
        return any(_may_be(member, kind) for member in _members(data) for kind in kinds)
    return _may_be(annotation, Event)


def _may_be(annotation: object, expected: type) -> bool:
    """Returns False if an instance of this class certainly does not fit the annotation."""
    if isinstance(annotation, str):  # a forward reference inside another annotation
        return True
    if annotation is Any or isinstance(annotation, TypeVar):
        return True
    cls = get_origin(annotation) or annotation
    if cls is None or not isinstance(cls, type):
        return cls is not None
    return getattr(cls, "_is_protocol", False) or issubclass(expected, cls)

"""Finds the fake of each provider."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec

from receiver.fake.provider import FakeProvider, World

#: Makes a fake provider.
Maker = Callable[[World], FakeProvider]


def makers(providers: Iterable[str]) -> dict[str, Maker]:
    """Returns a maker for each of the providers that has a fake, by name.

    The fake of a provider is the module of its name in this package.
    """
    found = {name: _module_of(name) for name in providers}
    return {name: _in_module(name, module) for name, module in found.items() if find_spec(module)}


def _module_of(name: str) -> str:
    return f"{__package__}.{name.replace('-', '_')}"


def _in_module(name: str, module: str) -> Maker:
    [found] = [
        value
        for value in vars(import_module(module)).values()
        if isinstance(value, type)
        and issubclass(value, FakeProvider)
        and getattr(value, "name", None) == name
    ]
    return found

"""Finds the fake of each provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module

from receiver.fake.provider import FakeProvider, SharedState
from receiver.providers import ProviderType, built_in

#: Makes a fake provider.
Maker = Callable[[SharedState], FakeProvider]


def makers(providers: Mapping[str, ProviderType]) -> dict[str, Maker]:
    """Returns a maker for each of the providers that has a fake, by name.

    The fake of a built-in provider is the module of its name in this package, that of a described
    one its description. Other Python files have none.
    """
    found: dict[str, Maker] = {}
    for name, provider in providers.items():
        if provider is built_in().get(name):
            found[name] = _in_module(name)
        elif provider.api is not None and (maker := _described(provider)) is not None:
            found[name] = maker
    return found


def _in_module(name: str) -> Maker:
    module = import_module(f"{__package__}.{name.replace('-', '_')}")
    [found] = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, FakeProvider)
        and getattr(value, "name", None) == name
    ]
    return found


def _described(provider: ProviderType) -> Maker | None:
    # Few tests fake a gateway that is described.
    from receiver.fake.described import DescribedFake  # noqa: PLC0415 - see above
    from receiver.providers.described import Described  # noqa: PLC0415 - see above

    return partial(DescribedFake, provider) if issubclass(provider, Described) else None

"""Described gateways for tests, which together use the whole grammar."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from receiver.config.convert import Secret
from receiver.providers import described
from receiver.providers.contract import Parsed, Push
from receiver.providers.described import Described
from tests.providers import pushes

FOLDER = Path(__file__).with_name("gateways")
NAMES = sorted(file.stem for file in FOLDER.glob("*.toml"))
#: A token, and for HTTP basic a user with a password.
SECRET = "user:s3cret pass/ü"


def raw(name: str) -> dict[str, Any]:
    """The decoded TOML of a gateway, to change."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))


@cache
def gateway(name: str) -> type[Described]:
    """The provider that a gateway is compiled into."""
    return described.load(FOLDER / f"{name}.toml")


def source(name: str, **settings: Any) -> Described:
    """A source of a gateway, with the token `SECRET` unless the settings say otherwise."""
    made = gateway(name)
    return made(made.settings(**{"provider": name, "tokens": [Secret(SECRET)], **settings}))


def example(name: str, kind: str, **values: str) -> Push:
    """The push of an example, with the credential `SECRET`."""
    return pushes.of_sample(gateway(name).sample(kind, SECRET, values))


def told(provider: Described, push: Push) -> list[Parsed]:
    """The events in a push that is authentic and well-formed in each item."""
    provider.authenticate(push)
    parsed = provider.parse(push)
    assert all(isinstance(each, Parsed) for each in parsed)
    return [each for each in parsed if isinstance(each, Parsed)]

"""Providers and pushes for tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec

from receiver.config.convert import Secret
from receiver.providers import Parsed, Provider, Push, Sample, built_in
from receiver.providers.tilil.settings import Digest

SECRET = "s3cret pass/ü"
#: When pushes of tests arrive.
ARRIVAL = datetime(2026, 11, 20, 9, 0, 0, 123456, tzinfo=UTC)


def provider(name: str, *, tokens: Sequence[str] = (SECRET,), **settings: Any) -> Provider[Any]:
    """A provider with these settings of its source."""
    known = built_in()[name]
    secrets = [Secret(token) for token in tokens]
    return known(known.settings(provider=name, tokens=secrets, **settings))


def digest(password: str, **settings: Any) -> Digest:
    """Settings of a digest token."""
    return Digest(**{"username": "user", **settings, "password": Secret(password)})


def push(
    method: str = "POST",
    path: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    received_at: datetime = ARRIVAL,
) -> Push:
    """A request; `path` is what follows `/hooks/{source}`."""
    path, _, query = path.partition("?")
    return Push(
        method=method,
        token=unquote(path.strip("/")) or None,
        query=query.encode(),
        headers=[
            (name.lower().encode(), value.encode("utf-8"))
            for name, value in (headers or {}).items()
        ],
        body=body,
        received_at=received_at,
    )


def of_sample(sample: Sample) -> Push:
    """The request that a sample is."""
    return sample.push(ARRIVAL)


def take(provider: Provider[Any], push: Push) -> Parsed:
    """Authenticates and parses a push, as the intake does. Raises `PushError`."""
    provider.authenticate(push)
    return parse(provider, push)


def parse(provider: Provider[Any], push: Push) -> Parsed:
    """The only event in a push. Raises `PushError`."""
    [parsed] = provider.parse(push)
    assert isinstance(parsed, Parsed)
    return parsed


def builtins(parsed: Parsed) -> dict[str, Any]:
    """The event in a push, as JSON has it."""
    said: dict[str, Any] = msgspec.to_builtins(parsed)
    return {**said, "subject": parsed.subject}

"""The provider that is checked: how it is made, and what its samples become."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from receiver.config.convert import Secret
from receiver.errors import Malformed, PushError
from receiver.providers import Parsed, Provider, ProviderType, Push, Sample

#: The credential of pushes: with signs that URLs and forms escape.
SECRET = "s3cret:pass/ü"  # noqa: S105 - of nobody
#: When pushes arrive.
ARRIVAL = datetime(2026, 11, 20, 9, 0, 0, 123456, tzinfo=UTC)


class Broken(AssertionError):
    """A provider does not keep a promise."""


class Subject:
    """A provider, with settings of its source besides tokens."""

    def __init__(self, provider: ProviderType, settings: dict[str, Any]) -> None:
        self.provider = provider
        self.settings = settings

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of push that it can make samples of."""
        return self.provider.sample_kinds if self.provider.pushes else ()

    def made(self, **settings: Any) -> Provider[Any]:
        """Returns the provider of a source."""
        tokens = [Secret(SECRET)] if self.provider.pushes else []
        given = {"tokens": tokens, **self.settings, **settings}
        return self.provider(self.provider.settings(provider=self.provider.name, **given))

    def sample(self, kind: str, secret: str = SECRET, **values: str) -> Sample:
        """Returns a sample with the credential of the source."""
        return self.provider.sample(kind, secret, self.made().with_credential(values))

    def push(self, kind: str, secret: str = SECRET, **values: str) -> Push:
        """Returns the request of a sample."""
        return self.sample(kind, secret, **values).push(ARRIVAL)

    def taken(self, push: Push, what: str) -> list[Parsed]:
        """Returns the events of a push that is authenticated. Raises `Broken` if it is refused."""
        made = self.made()
        try:
            made.authenticate(push)
            return events(made, push)
        except PushError as error:
            raise Broken(
                f"expected {what} to be taken, got {type(error).__name__}: {error}"
            ) from None


#: Raises `Broken`.
Promise = Callable[[Subject], None]


def expect(fact: object, expected: str) -> None:
    """Raises `Broken` unless it is a fact."""
    if not fact:
        raise Broken(f"expected {expected}")


def expect_equal(got: object, wanted: object, what: str) -> None:
    """Raises `Broken` unless both are equal."""
    if got != wanted:
        raise Broken(f"expected {what} to be {wanted!r}, got {got!r}")


def refusal(step: Callable[[Push], object], push: Push) -> PushError | None:
    """Returns the `PushError` of a step; None if it returned."""
    try:
        step(push)
    except PushError as error:
        return error
    return None


def events(made: Provider[Any], push: Push) -> list[Parsed]:
    """Returns the events of a push, without items that are malformed. Raises `PushError`."""
    found: list[Any] = list(made.parse(push))
    expect(found, "one event at least, or a PushError; got an empty list")
    return [each for each in found if not isinstance(each, Malformed)]

"""`People`: the questions about a person that handlers can ask, as `context.people`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

import msgspec

from receiver.events import Data, Event


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the subscription book, or of its history."""

    msisdn: str
    source: str
    short_code: str
    service_id: str
    state: Literal["active", "inactive"]
    since: datetime
    """The provider's time of the change."""
    keyword: str | None
    subscriber_ref: str | None
    network: str | None


class People(Protocol):
    """Reads the store as it is at this moment.

    Numbers are E.164, as events have them; any other form with a country code will do.

    Plain calls, for `def` and `async def` handlers alike; the first three take some ten
    microseconds, so that inline handlers can use them as well.
    """

    def subscriptions(self, msisdn: str) -> list[Subscription]:
        """The person's lines in the subscription book, active and not."""

    def is_subscriber(
        self, msisdn: str, *, service_id: str | None = None, short_code: str | None = None
    ) -> bool:
        """True if the person has an active subscription (of this service, on this code)."""

    def has_opted_out(
        self, msisdn: str, *, short_code: str | None = None, service_id: str | None = None
    ) -> bool:
        """True if the person must not be messaged (by this code, about this service)."""

    def history(self, msisdn: str, limit: int = 20) -> list[Event[Data]]:
        """The person's newest events, newest first. Some milliseconds in a large store."""


class Nobody:
    """`People` where there is no store: nobody is known."""

    def subscriptions(self, msisdn: str) -> list[Subscription]:
        """There are none."""
        return []

    def is_subscriber(
        self, msisdn: str, *, service_id: str | None = None, short_code: str | None = None
    ) -> bool:
        """Nobody is."""
        return False

    def has_opted_out(
        self, msisdn: str, *, short_code: str | None = None, service_id: str | None = None
    ) -> bool:
        """Nobody is."""
        return False

    def history(self, msisdn: str, limit: int = 20) -> list[Event[Data]]:
        """There is none."""
        return []

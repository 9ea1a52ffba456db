"""`People` for tests of plugins, without a store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from receiver.events import Data, Event
from receiver.handlers import OptOut, Subscription
from receiver.store.opt_out_rule import blocks, line
from receiver.testing.events import IDS, MOMENT, PERSON, SHORT_CODE, SOURCE
from receiver.text.msisdn import normalise


class FakePeople:
    """`People` with the lines, opt-outs and events of a test: `context.people` without a store."""

    def __init__(
        self,
        subscriptions: Iterable[Subscription] = (),
        opted_out: Iterable[OptOut] = (),
        history: Iterable[Event[Data]] = (),
    ) -> None:
        self._subscriptions = list(subscriptions)
        self._opted_out = [_line(entry) for entry in opted_out]
        self._history = list(history)

    def subscriptions(self, msisdn: str) -> list[Subscription]:
        """See `People`."""
        person = normalise(msisdn, None)
        return [each for each in self._subscriptions if each.msisdn == person]

    def is_subscriber(
        self, msisdn: str, *, service_id: str | None = None, short_code: str | None = None
    ) -> bool:
        """See `People`."""
        code = short_code and normalise(short_code, None)
        return any(
            each.state == "active"
            and service_id in (None, each.service_id)
            and code in (None, each.short_code)
            for each in self.subscriptions(msisdn)
        )

    def has_opted_out(
        self, msisdn: str, *, short_code: str | None = None, service_id: str | None = None
    ) -> bool:
        """See `People`."""
        person, code = normalise(msisdn, None), short_code and normalise(short_code, None)
        lines = [
            line(out.short_code, out.service_id) for out in self._opted_out if out.msisdn == person
        ]
        return blocks(lines, code, service_id)

    def history(self, msisdn: str, limit: int = 20) -> list[Event[Data]]:
        """See `People`."""
        person = normalise(msisdn, None)
        return [event for event in reversed(self._history) if event.subject == person][:limit]

    def after(self, *events: Event[Data]) -> FakePeople:
        """The same people, when these events are stored, too."""
        return FakePeople(self._subscriptions, self._opted_out, [*self._history, *events])


def people(
    *,
    subscriptions: Iterable[Subscription] = (),
    opted_out: Iterable[str | OptOut] = (),
    history: Iterable[Event[Data]] = (),
) -> FakePeople:
    """Returns `People` who know these lines, opt-outs and events, as the store would.

    `subscriptions` are lines of the book (`subscription`), `opted_out` numbers, or an `OptOut` for
    one short code or service only, `history` stored events, the oldest first. They get new ids, of
    events that are older than any that a test makes.
    """
    older = [
        msgspec.structs.replace(event, id=IDS.text(number))
        for number, event in enumerate(history, 1)
    ]
    out = [OptOut(entry) if isinstance(entry, str) else entry for entry in opted_out]
    return FakePeople(subscriptions, out, older)


def subscription(
    msisdn: str = PERSON,
    *,
    source: str = SOURCE,
    short_code: str = SHORT_CODE,
    service_id: str = "",
    state: Literal["active", "inactive"] = "active",
    since: datetime = MOMENT,
    keyword: str | None = None,
    subscriber_ref: str | None = None,
    network: str | None = "safaricom",
) -> Subscription:
    """A line of the subscription book."""
    return Subscription(
        msisdn=normalise(msisdn, None),
        source=source,
        short_code=normalise(short_code, None),
        service_id=service_id,
        state=state,
        since=since,
        keyword=keyword,
        subscriber_ref=subscriber_ref,
        network=network,
    )


def _line(entry: OptOut) -> OptOut:
    """An opt-out with its numbers in their one form, as the store has it."""
    return msgspec.structs.replace(
        entry,
        msisdn=normalise(entry.msisdn, None),
        short_code=entry.short_code and normalise(entry.short_code, None),
    )

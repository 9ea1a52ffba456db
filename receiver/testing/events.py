"""Makes events for tests of plugins."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from receiver.events import DeliveryReport, Event, EventType, Message, Status, SubscriptionChange
from receiver.handlers import keyword as keyword_of
from receiver.store import to_micros
from receiver.store.ids import EventIds
from receiver.text.msisdn import normalise

#: The person who writes to us, unless a test says otherwise.
PERSON = "+254726770792"
#: When events happen, unless a test says otherwise: a Monday, so that no test depends on the day.
MOMENT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
#: The short code that they write to.
SHORT_CODE = "22915"
#: Through which source of the configuration.
SOURCE = "tilil"
#: Where numbers without a country code belong.
REGION = "KE"

#: Of all events that a test makes.
IDS = EventIds(0)


def message(
    text: str,
    *,
    from_: str = PERSON,
    to: str | None = SHORT_CODE,
    source: str = SOURCE,
    time: datetime = MOMENT,
    network: str | None = "safaricom",
    service_id: str | None = None,
    link_id: str | None = None,
    fields: Mapping[str, str] | None = None,
    external_id: str | None = None,
) -> Event[Message]:
    """A message that somebody sends us; its keyword is the one that the service would find."""
    from_ = _number(from_)
    data = Message(
        external_id=external_id if external_id is not None else _new_id(),
        from_=from_,
        to=to and _number(to),
        text=text,
        keyword=keyword_of(text),
        network=network,
        service_id=service_id,
        link_id=link_id,
        fields=dict(fields or {}),
    )
    return _event(EventType.MESSAGE_RECEIVED, data, from_, source, time)


def report(
    status: Status | str = Status.DELIVERED,
    *,
    to: str | None = PERSON,
    message_id: str | None = None,
    source: str = SOURCE,
    time: datetime = MOMENT,
    sender: str | None = SHORT_CODE,
    reason: str | None = None,
    network: str | None = None,
    opted_out: bool = False,
) -> Event[DeliveryReport]:
    """A delivery report about a message of ours."""
    known, to = Status(status), to and _number(to)
    data = DeliveryReport(
        message_id=message_id if message_id is not None else _new_id(),
        to=to,
        sender=sender and _number(sender),
        status=known,
        raw_status=str(known),
        reason=reason,
        network=network,
        final=known.final,
        opted_out=opted_out,
    )
    return _event(EventType.DELIVERY_UPDATED, data, to, source, time)


def activation(
    msisdn: str = PERSON,
    *,
    short_code: str | None = SHORT_CODE,
    service_id: str | None = None,
    keyword: str | None = None,
    subscriber_ref: str | None = None,
    network: str | None = "safaricom",
    source: str = SOURCE,
    time: datetime = MOMENT,
) -> Event[SubscriptionChange]:
    """Somebody joins a service at the provider."""
    msisdn = _number(msisdn)
    data = SubscriptionChange(
        msisdn=msisdn,
        short_code=short_code and _number(short_code),
        keyword=keyword,
        service_id=service_id,
        subscriber_ref=subscriber_ref,
        network=network,
    )
    return _event(EventType.SUBSCRIPTION_ACTIVATED, data, msisdn, source, time)


def deactivation(msisdn: str = PERSON, **given: Any) -> Event[SubscriptionChange]:
    """Somebody leaves a service at the provider. Takes the arguments of `activation`."""
    joined = activation(msisdn, **given)
    return msgspec.structs.replace(joined, type=str(EventType.SUBSCRIPTION_DEACTIVATED))


def _event(
    type_: EventType, data: Any, subject: str | None, source: str, time: datetime
) -> Event[Any]:
    return Event(
        id=_new_id(),
        source=f"/sources/{source}",
        type=str(type_),
        time=time,
        subject=subject,
        provider=source,
        receivedat=time,
        data=data,
    )


def _number(text: str) -> str:
    """A number of a person or of ours as events have it."""
    return normalise(text, REGION)


def _new_id() -> str:
    """An id, later than those of all events made before."""
    return IDS.text(IDS.next(to_micros(MOMENT)))

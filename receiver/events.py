"""The one event schema, given out as CloudEvents 1.0 JSON (structured mode).

Every push of every provider becomes one `Event`. Its `data` is a `Message`, a
`DeliveryReport` or a `SubscriptionChange`; `type` tells which.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

import msgspec


class EventType(StrEnum):
    """The CloudEvents types that exist."""

    MESSAGE_RECEIVED = "sms.message.received"
    DELIVERY_UPDATED = "sms.delivery.updated"
    SUBSCRIPTION_ACTIVATED = "sms.subscription.activated"
    SUBSCRIPTION_DEACTIVATED = "sms.subscription.deactivated"


#: By type: its short name, for tables and `--type`.
TYPE_NAMES = {
    EventType.MESSAGE_RECEIVED: "message",
    EventType.DELIVERY_UPDATED: "delivery",
    EventType.SUBSCRIPTION_ACTIVATED: "activated",
    EventType.SUBSCRIPTION_DEACTIVATED: "deactivated",
}


class Status(StrEnum):
    """The status of a message that we sent."""

    UNKNOWN = "unknown"
    QUEUED = "queued"
    SENT = "sent"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DELIVERED = "delivered"

    @property
    def rank(self) -> int:
        """The place of a status in their order; the failures share one rank."""
        return _RANKS[self]

    @property
    def final(self) -> bool:
        """True if no further report is expected."""
        return self.rank >= _FAILED


_FAILED = 3
_RANKS = {
    Status.UNKNOWN: 0,
    Status.QUEUED: 1,
    Status.SENT: 2,
    Status.UNDELIVERED: _FAILED,
    Status.FAILED: _FAILED,
    Status.REJECTED: _FAILED,
    Status.EXPIRED: _FAILED,
    Status.CANCELLED: _FAILED,
    Status.DELIVERED: 4,
}


def advance(current: Status, reported: Status) -> Status:
    """The status of a message after one more report.

    It only moves forward: a handset's confirmation beats every failure, and among the
    failures the first one stays.
    """
    return reported if reported.rank > current.rank else current


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """`sms.message.received`: somebody wrote to one of our numbers."""

    external_id: str
    """The provider's id of the message, as it came: leading zeros and case kept."""
    from_: str = msgspec.field(name="from")
    """The sender: E.164, or a short code or alphanumeric sender as it came."""
    to: str | None = None
    """Our short code or number."""
    text: str = ""
    """The text exactly as typed."""
    keyword: str | None = None
    """First word, folded (see `receiver.text.keywords`); None for a text without words."""
    network: str | None = None
    """The mobile network, in lower case."""
    service_id: str | None = None
    link_id: str | None = None
    """Handed back when replying through the send API (on-demand services)."""
    fields: dict[str, str] = {}
    """Supplemental data of the provider (Text-Connect's MMName, MM1, …)."""


class DeliveryReport(msgspec.Struct, frozen=True, kw_only=True):
    """`sms.delivery.updated`: the new status of a message that we sent."""

    message_id: str
    to: str | None = None
    sender: str | None = None
    status: Status = Status.UNKNOWN
    raw_status: str | None = None
    """The provider's own word for the status."""
    raw_code: str | None = None
    """The provider's own code for the status."""
    reason: str | None = None
    network: str | None = None
    final: bool = False
    opted_out: bool = False
    """The network says that this person wants nothing more from this sender."""


class SubscriptionChange(msgspec.Struct, frozen=True, kw_only=True):
    """`sms.subscription.activated` and `.deactivated`: somebody joined or left a service."""

    msisdn: str
    short_code: str | None = None
    keyword: str | None = None
    service_id: str | None = None
    subscriber_ref: str | None = None
    network: str | None = None


Data = Message | DeliveryReport | SubscriptionChange
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
DataT_co = TypeVar("DataT_co", bound=Data, covariant=True)

_DATA_CLASSES: dict[str, type[Data]] = {
    EventType.MESSAGE_RECEIVED: Message,
    EventType.DELIVERY_UPDATED: DeliveryReport,
    EventType.SUBSCRIPTION_ACTIVATED: SubscriptionChange,
    EventType.SUBSCRIPTION_DEACTIVATED: SubscriptionChange,
}


class Event(msgspec.Struct, Generic[DataT_co], frozen=True, kw_only=True):
    """One thing that happened, as a CloudEvent.

    `time` is the provider's time and `receivedat` ours, both in UTC; `subject` is the
    person (E.164), None where the provider does not say.
    """

    specversion: str = "1.0"
    id: str
    source: str
    """`/sources/` and the name of the source in the configuration."""
    type: str
    time: Instant
    subject: str | None = None
    datacontenttype: str = "application/json"
    provider: str
    receivedat: Instant
    data: DataT_co

    @property
    def source_name(self) -> str:
        """The name of the source in the configuration."""
        return self.source.removeprefix("/sources/")


_encoder = msgspec.json.Encoder()
_data_decoders = {type_: msgspec.json.Decoder(cls) for type_, cls in _DATA_CLASSES.items()}

encode_data = _encoder.encode
"""The `data` of an event as JSON bytes, as the store keeps it."""


def encode_event(event: Event[Data]) -> bytes:
    """The event as CloudEvents JSON; an attribute that is not known is left out."""
    if event.subject is None:  # the specification allows null, its SDKs do not
        attributes = msgspec.structs.asdict(event)
        del attributes["subject"]
        return _encoder.encode(attributes)
    return _encoder.encode(event)


def decode_data(type_: str, data: bytes) -> Data:
    """The inverse of `encode_data`; `type_` is the type of the event."""
    return _data_decoders[type_].decode(data)


def data_class(type_: str) -> type[Data]:
    """The class of the `data` of events of a type."""
    return _DATA_CLASSES[type_]


def event_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the events that this program gives out."""
    kinds = [Event[Message], Event[DeliveryReport], Event[SubscriptionChange]]
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/$defs/{name}", schema_hook=None
    )
    for type_, cls in _DATA_CLASSES.items():
        properties = components[f"Event_{cls.__name__}_"]["properties"]
        properties["type"].setdefault("enum", []).append(str(type_))
        properties["specversion"]["const"] = "1.0"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sms-receiver event",
        "anyOf": list(schemas),
        "$defs": components,
    }


#: Characters of an id that differ between the events of one store; tables show only these.
SHORT_ID = 18


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)

"""The JSON of records in answers, as types: what `receiver.views` makes of those of the store.

They are made of the store's own types, so that a new field of these is in the OpenAPI document,
and nothing is encoded by them: the commands' `--json` and the API have the same functions for that.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime
from types import GenericAlias
from typing import Any, Literal

import msgspec

from receiver.events import DeliveryReport, Event, Instant, Message, SubscriptionChange
from receiver.service.person import Kind
from receiver.store import (
    Change,
    Job,
    MessageReport,
    OptOutEntry,
    Quarantined,
    StoredMessage,
    Subscription,
)
from receiver.views.messages import NOT_SHOWN
from receiver.views.stories import Answered

Shape = type[msgspec.Struct]
#: In the document a time is more than a text.
_TIMES: dict[Any, Any] = {datetime: Instant, datetime | None: Instant | None}
_Fields = Sequence[tuple[Any, ...]]


def shape(
    name: str,
    of: Any,
    about: str,
    *,
    without: Container[str] = (),
    more: _Fields = (),
    **types: Any,
) -> Shape:
    """Returns a type with the fields of another, some of other `types`, and `more`."""
    own = [
        (field.encode_name, types.get(field.encode_name, _TIMES.get(field.type, field.type)))
        for field in msgspec.structs.fields(of)
        if field.name not in without
    ]
    return msgspec.defstruct(name, [*own, *more], namespace={"__doc__": about}, kw_only=True)


class Content(msgspec.Struct, frozen=True):
    """The content of an answer: one record of one of these types, or a page of a list of them."""

    shapes: Sequence[Shape]
    page: bool = False


def _list_of(shape: Shape) -> Any:
    return GenericAlias(list, (shape,))


class RawRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A push as it came; a body that is not UTF-8 is in base64."""

    method: str
    query: str
    headers: dict[str, str]
    body: str | None = None
    body_base64: str | None = None


SENT = shape(
    "SentMessage", StoredMessage, "A message that we sent or will send.", without=NOT_SHOWN
)
SENT_WHOLE = shape(
    "SentMessageWhole",
    StoredMessage,
    "A message that we sent or will send, with its delivery reports.",
    without=NOT_SHOWN,
    more=[("reports", list[MessageReport])],
)
_ABOUT_JOB = "A piece of background work."
JOB = shape("BackgroundJob", Job, _ABOUT_JOB, event=str | None, due_at=Instant | None)
_SCOPE: dict[str, Any] = {"short_code": str | None, "service_id": str | None}
OPT_OUT = shape("OptOutLine", OptOutEntry, "A person who must not be messaged.", **_SCOPE)
SUBSCRIPTION = shape(
    "SubscriptionLine", Subscription, "A person's subscription to a service.", **_SCOPE
)
_REFUSED = "A request that could not become an event."
QUARANTINED = shape("QuarantinedRequest", Quarantined, _REFUSED, without=["request"])
QUARANTINED_WHOLE = shape(
    "QuarantinedRequestWhole",
    Quarantined,
    "A request that could not become an event, as it came.",
    without=("request",),
    more=[("raw", RawRequest)],
)

_STORY: _Fields = [("person", str | None), ("answered", Answered | None), ("note", str | None)]
_WHOLE: _Fields = [
    ("repeat_key", str),
    ("answer", str),
    ("reply", str | None),
    ("message", int | None),
    ("messages", _list_of(SENT)),
    ("changes", list[Change]),
    ("jobs", _list_of(JOB)),
]
# Absent where the provider does not say who the person is.
_SUBJECT = ("subject", str | msgspec.UnsetType, msgspec.UNSET)
_RAW = ("raw", RawRequest | msgspec.UnsetType, msgspec.UNSET)
_OF_EVENTS = (
    ("Message", Event[Message], Literal["sms.message.received"]),
    ("Delivery", Event[DeliveryReport], Literal["sms.delivery.updated"]),
    (
        "Subscription",
        Event[SubscriptionChange],
        Literal["sms.subscription.activated", "sms.subscription.deactivated"],
    ),
)


def _events(suffix: str, more: _Fields, about: str) -> list[Shape]:
    """Returns the types of events of each kind."""
    return [
        shape(name + suffix, of, about, without=["subject"], more=more, type=type_)
        for name, of, type_ in _OF_EVENTS
    ]


EVENTS = _events("Event", [_SUBJECT, *_STORY], "An event, and how it was answered.")
EVENTS_WHOLE = _events(
    "EventWhole",
    [_SUBJECT, *_STORY, *_WHOLE, _RAW],
    "An event, how it was answered, and all that followed from it.",
)


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a person, or waits."""

    time: Instant
    kind: Kind
    entry: str
    id: str | None
    what: str
    outcome: str | None
    record: dict[str, Any]
    """The whole record, by its kind."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """The newest entries about a person, the newest first."""

    msisdn: str
    data: list[TimelineEntry]
    more: bool
    """True if there are older ones."""
    opted_out: bool

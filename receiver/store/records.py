"""The records that the store takes and returns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from receiver.actions import Action, Reply
from receiver.events import Data, Event, Status
from receiver.outgoing import OutgoingMessage, Schedule
from receiver.store.tx import Tx

#: Microseconds of a quarter hour, by which things are counted: every zone's days begin at one.
QUARTER: Final = 900_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(moment: datetime) -> int:
    """Returns a moment as microseconds since 1970, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int) -> datetime:
    """Returns the moment of these microseconds since 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


class Request(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A push as it came, to be shown or processed again."""

    method: str
    token: str | None
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    client: str


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Request).decode


def pack_request(
    method: str,
    token: str | None,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    client: str,
) -> bytes:
    """Returns a `Request` in the form that the store keeps."""
    return _pack((method, token, query, headers, body, client))


def unpack_request(blob: bytes) -> Request:
    """Returns the request that `pack_request` packed."""
    return _unpack(blob)


class HandleJob(msgspec.Struct, frozen=True, kw_only=True):
    """A handler that has to process an event; `attempts` > 0 if it failed inline."""

    handler: str
    attempts: int = 0
    due_at: int = 0
    error: str | None = None
    held: str | None = None
    """The loop guard's reason to hold back any reply to the event; None: replies may go out."""


class ReplyState:
    """The states of the reply to an event: plain numbers for speed, since every push uses them."""

    NONE: Final = 0
    OPEN: Final = 1
    """There is none yet, and one may still become part of the answer."""
    # In all others there is one, and no other follows.
    GIVEN: Final = 2
    """It is in the answer. Earlier versions stored this for all that follows, too."""
    SENT: Final = 3
    """It is a message."""
    SILENT: Final = 4
    """It is that nothing is said."""


class HandlerActions(msgspec.Struct, frozen=True, kw_only=True):
    """The actions that one handler asked for, except its reply."""

    handler: str
    actions: tuple[Action, ...]


def noted(first: str, other: str | None) -> str:
    """Joins a note to the one that an event may have."""
    return first if other is None else f"{first}; {other}"


def answered_by(handler: str, reply: Reply) -> str:
    """Returns who replied, as it is kept with an event: `plugin.function`, and its rule if any."""
    return f"{handler} {reply.rule}" if reply.rule else handler


#: The type of a purged event, of which only the row is left: see the migration 0004.
PURGED: Final = ""

#: Begins the note of an event whose reply the loop guard held back.
HELD_BACK = "reply held back: "
#: Begins the note of an event that came under the id of another one.
SEEN_BEFORE = "its id was seen before, "


class EventRow(msgspec.Struct, frozen=True):
    """A row of the table of events, its fields in the order of the columns."""

    seq: int
    source: str
    key: str
    provider: str
    type: str
    subject: str | None
    time: int
    received_at: int
    data: bytes
    answer: bytes
    """The answer to the push, with the reply if there is one and the provider takes it here."""
    reply: int
    """A `ReplyState`."""
    request: bytes
    """The push as it came (`pack_request`); empty: it told several events, and is kept once."""
    note: str | None = None
    """A remark on its handling, for operators."""
    answered_by: str | None = None
    """See `answered_by`."""


class StoredPush(msgspec.Struct, frozen=True, kw_only=True):
    """A push to store: its event, and the results of the inline handlers."""

    row: EventRow
    plain_answer: bytes
    """The answer without a reply, which goes out if the person has opted out."""
    reply: Reply | None = None
    replied_by: str = ""
    reply_in_answer: bool = False
    handler_actions: tuple[HandlerActions, ...] = ()
    jobs: tuple[HandleJob, ...] = ()
    report: Report | None = None
    """About a message that we may have sent."""
    owner: int = 0
    """Who begins the jobs at once, if none of the person's waits; 0: they wait."""


class StoredBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A push that tells several events: all are stored in one transaction, and answered once."""

    pushes: tuple[StoredPush, ...]
    """Its events, in its order. At most one has a reply that is, or may become, the answer's."""
    request: bytes
    """The push as it came (`pack_request`), which is kept once; the rows have an empty one."""
    unread: bool = False
    """Some items of the push could not become events."""
    aside: Callable[[Tx], object] | None = None
    """Keeps these for a look, in the same transaction."""


class StoreResult(msgspec.Struct, frozen=True):
    """The result of storing a `StoredPush`."""

    seq: int
    new: bool
    """False for a repeat; `seq` and `answer` are then those of the first."""
    answer: bytes
    open: bool
    """The answer may still get a reply."""
    jobs: tuple[int, ...] = ()
    """Ids of the handle jobs, in the order of `StoredPush.jobs`."""
    claimed: bool = False
    """Those that have not failed yet are `StoredPush.owner`'s."""
    reused: bool = False
    """True if it is new and its id was seen before with other content."""
    given: bool = False
    """The answer has a reply in it."""


class BundleResult(StoreResult, frozen=True, kw_only=True):
    """The result of storing a `StoredBundle`: as of the event whose answer the push gets.

    `new` is True if any of its events is, `jobs` are those of all.
    """

    events: list[StoreResult]
    """The result of each event, in order."""
    place: int
    """The place among them of the event whose answer it is."""


class HandlerResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a handler: its actions, and the answer to the push."""

    job: int
    seq: int
    handler: str
    actions: tuple[Action, ...] = ()
    answer: bytes | None = None
    """The provider's acknowledgement with the reply in it, while the answer is open."""
    last: bool = False
    """True if no other handler may reply: this settles the answer."""
    at: int
    note: str | None = None
    """What a person should know about it."""
    owner: int = 0
    """Who has claimed the job; 0: nobody."""


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with the store's data about it."""

    seq: int
    event: Event[Data]
    key: str
    answer: bytes
    reply: int
    """A `ReplyState`."""
    answered_by: str | None
    """Who replied: `plugin.function`, and after a space its rule."""
    note: str | None
    request: Request | None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of background work."""

    id: int
    kind: Literal["handle", "send", "poll", "forward", "deactivate", "campaign"]
    state: Literal["due", "dead"]
    event: int | None
    handler: str
    payload: dict[str, Any] | None
    message: int | None
    """The id of the message to send, or to ask the status of."""
    target: str | None = None
    """The target to forward the event to: its name, or a URL."""
    attempts: int
    due_at: datetime
    created_at: datetime
    error: str | None


class Attempt(msgspec.Struct, frozen=True):
    """An attempt to send a message, to this number."""

    message: int
    msisdn: str
    sender: str | None = None
    """The sender of the message, or else of the source."""
    service_id: str | None = None
    """The service of the message, or else of the source."""


class Failure(msgspec.Struct, frozen=True):
    """The reason why a message is not sent (any more), and its new status."""

    error: str
    status: Status = Status.FAILED
    code: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a delivery report: the fields that find its message, and its status."""

    message_id: str
    status: Status
    text: str | None = None
    """The text of the message, if the provider repeats it."""
    foreign_ids: bool = False
    """True if the provider's reports may name a message by another id than its answer to
    sending."""
    link_invalid: bool = False
    opted_out: bool = False
    """True if the person has opted out from the sender of the message."""


class StoredMessage(OutgoingMessage, frozen=True, kw_only=True):
    """A message that we send or sent, with its state."""

    id: int
    source: str
    event: str | None
    """The id of the event that it answers."""
    handler: str
    """The author of the message: `plugin.function` or `operator`."""
    encoding: Literal["GSM-7", "UCS-2"]
    parts: int
    state: Literal["waiting", "sending", "sent", "unknown", "dead"]
    status: Status
    provider_id: str | None
    cost: str | None
    balance: str | None
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    """The time of the last attempt."""
    updated_at: datetime
    code: str | None
    error: str | None
    due_at: datetime | None
    """The time at which it is sent, or its status is asked for, next."""
    campaign: int | None = None
    """The campaign that it is part of."""
    polls: int = 0


class StoredCampaign(msgspec.Struct, frozen=True, kw_only=True):
    """Messages to many through a source."""

    id: int
    source: str
    handler: str
    """Who asks for it: `plugin.function` or `operator`."""
    state: Literal["draft", "running", "paused", "cancelled", "done"]
    """`draft`: its people are still being added, and nothing leaves."""
    schedule: Schedule
    created_at: datetime
    ended_at: datetime | None
    error: str | None
    """Why the service paused it."""


class Work(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A job that is due, with all that is needed to do it."""

    id: int
    person: str | None
    """Whose work of its kind goes one after the other; None: about nobody."""
    handler: str
    payload: bytes | None = None
    """JSON."""
    attempts: int
    """This one included."""
    since: datetime
    """When it was asked for, or a person made it due again."""
    seq: int | None
    event: Event[Data] | None = None
    missing: str = ""
    """Why there is no event."""
    message: StoredMessage | None = None
    """That is to be sent, or asked about."""
    campaign: StoredCampaign | None = None
    """That is to go on."""
    joined_again: bool = False
    """The person has subscribed again since: what was asked for is no longer so."""
    prepared: Any = None
    """Made by its claim: what is to be done."""


class PollOf(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of a job that asks for a status: the id that it asks about."""

    message_id: str


class MessageReport(msgspec.Struct, frozen=True):
    """A delivery report about a message of ours."""

    event: str
    status: Status
    raw_status: str | None = None
    """The provider's own word."""
    raw_code: str | None = None
    reason: str | None = None

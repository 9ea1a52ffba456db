"""All pages of the console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from receiver.console.changes import CHANGES
from receiver.console.details import DETAILS
from receiver.console.filters import PERSON, SOURCE, Filter
from receiver.console.lists import ListPage
from receiver.console.roles import Role
from receiver.console.web import Page, path_of
from receiver.events import TYPE_NAMES, Status
from receiver.service.stories import Story, stories_of
from receiver.store import (
    AuditEntry,
    ForwardAttempt,
    NearMiss,
    OptOutChange,
    Reader,
    StoredMessage,
)
from receiver.views import lists

_WORDS = 100_000


def _events(reader: Reader, **wanted: Any) -> Any:
    return stories_of(reader, reader.events(**wanted))


def _event_links(story: Story) -> Sequence[str | None]:
    id_ = story.stored.event.id
    # The address holds no number: whoever may not see numbers opens the same page.
    person = path_of("events", id_, "person") if story.person else None
    return (path_of("events", id_), None, None, None, person)


def _message_links(message: StoredMessage) -> Sequence[str | None]:
    id_ = str(message.id)
    return (path_of("messages", id_), None, None, path_of("messages", id_, "person"))


EVENTS = ListPage[Story](
    path="/events",
    title="Events",
    about="Everything that gateways pushed: messages, delivery reports, subscription changes.",
    filters=(
        Filter(
            name="type",
            label="Type",
            kind="choice",
            choices=tuple(type_.value for type_ in TYPE_NAMES),
            argument="type_",
        ),
        SOURCE,
        PERSON,
    ),
    listing=lambda visit: lists.event_listing(visit.desk.secrets),
    find=_events,
    time=lambda story: story.stored.event.receivedat,
    links=_event_links,
)
MESSAGES = ListPage[StoredMessage](
    path="/messages",
    title="Messages",
    about="What was sent, or will be, with the status that the provider reports.",
    filters=(
        Filter(
            name="status", label="Status", kind="choice", choices=[each.value for each in Status]
        ),
        Filter(
            name="state",
            label="State",
            kind="choice",
            choices=("waiting", "sending", "sent", "unknown", "dead"),
        ),
        SOURCE,
        PERSON,
    ),
    listing=lambda visit: lists.message_listing(visit.desk.secrets),
    find=lambda reader, **wanted: reader.messages.every(**wanted),
    time=lambda message: message.created_at,
    links=_message_links,
)
OPT_OUTS = ListPage[OptOutChange](
    path="/opt-outs",
    title="Opt-outs",
    about="Who opted out or in again, by which word, report or command.",
    role=Role.CARE,
    filters=(PERSON,),
    listing=lambda _: lists.opt_out_history_listing(),
    find=lambda reader, **wanted: reader.opt_outs.changes(**wanted),
    time=lambda change: change.time,
    links=lambda change: (None, path_of("persons", change.msisdn)),
)
NEAR_MISSES = ListPage[NearMiss](
    path="/opt-outs/near-misses",
    title="Near misses",
    about="Messages that may have been meant as STOP and did not opt out.",
    role=Role.CARE,
    listing=lambda _: lists.near_miss_listing(),
    find=lambda reader, **wanted: reader.opt_outs.every_near_miss(**wanted),
    time=lambda miss: miss.time,
    links=lambda miss: (None, path_of("persons", miss.msisdn) if miss.msisdn else None),
)
FORWARDS = ListPage[ForwardAttempt](
    path="/forwards",
    title="Forwards",
    about="What other systems answered when events were posted to them.",
    listing=lambda _: lists.forward_listing(),
    find=lambda reader, **wanted: reader.forwards.every(**wanted),
    time=lambda attempt: attempt.time,
    links=lambda attempt: (None, path_of("events", attempt.event)),
)
AUDIT = ListPage[AuditEntry](
    path="/audit",
    title="Audit",
    about="Who changed data, and what retention deleted.",
    role=Role.OPERATOR,
    listing=lambda _: lists.audit_listing(),
    find=lambda reader, **wanted: reader.audit.every(**wanted),
    time=lambda act: act.time,
)

LISTS: tuple[ListPage[Any], ...] = (EVENTS, MESSAGES, OPT_OUTS, NEAR_MISSES, FORWARDS, AUDIT)
PAGES: tuple[Page, ...] = (
    *(page for each in LISTS for page in each.pages()),
    *DETAILS,
    *CHANGES,
)

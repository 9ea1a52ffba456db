"""The lists of events and of messages, and the live tail: events as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from receiver.console.filters import PERSON, SOURCE, Filter, chosen, page_with_form
from receiver.console.lists import ListPage, linked
from receiver.console.roles import Role
from receiver.console.web import Page, Visit, path_of
from receiver.errors import StoreError
from receiver.events import TYPE_NAMES, Status
from receiver.service.follow import Unseen
from receiver.service.stories import Story, stories_of
from receiver.store import Reader, StoredMessage
from receiver.text.escape import escape
from receiver.views import lists
from receiver.views.times import ShownTime

#: Rows of the live tail at the beginning, and at most at once.
_ROWS = 50
#: Seconds between looks for new events.
_POLL = 1.0
#: Looks of one stream. The browser asks again after it, so that a session that has ended, or has
#: another role now, sees no more.
_LOOKS = 60


def _events(reader: Reader, **wanted: Any) -> AsyncGenerator[Story]:
    return stories_of(reader, reader.events(**wanted))


def _event_links(story: Story) -> Sequence[str | None]:
    id_ = story.stored.event.id
    # The address holds no number: whoever may not see numbers opens the same page.
    person = path_of("events", id_, "person") if story.person else None
    return (path_of("events", id_), None, None, None, person)


def _message_links(message: StoredMessage) -> Sequence[str | None]:
    id_ = str(message.id)
    return (path_of("messages", id_), None, None, path_of("messages", id_, "person"))


def _has_words(words: list[str], message: StoredMessage) -> bool:
    text = message.text.casefold()
    return all(word in text for word in words)


_TYPES = [type_.value for type_ in TYPE_NAMES]
_TYPE = Filter("type", "Type", "choice", _TYPES, argument="type_")
EVENTS = ListPage[Story](
    path="/events",
    title="Events",
    about="Everything that gateways pushed: messages, delivery reports, subscription changes.",
    filters=(_TYPE, SOURCE, PERSON),
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
        Filter("words", "Text", "words", keeps=_has_words),
        Filter("status", "Status", "choice", [each.value for each in Status]),
        Filter("state", "State", "choice", ("waiting", "sending", "sent", "unknown", "dead")),
        *(SOURCE, PERSON, Filter("campaign", "Campaign", "number")),
    ),
    listing=lambda visit: lists.message_listing(visit.desk.secrets),
    find=lambda reader, **wanted: reader.messages.every(**wanted),
    time=lambda message: message.created_at,
    links=_message_links,
)


async def live(visit: Visit) -> Response:
    """Shows the newest events; a script adds those that come."""
    filters = (_TYPE, SOURCE, PERSON)
    wanted = chosen(filters, visit)
    async with visit.desk.reader() as reader:
        last = await reader.last_seq()
        found = [story async for story in _events(reader, **wanted, limit=_ROWS)]
    return await page_with_form(
        visit,
        "live.html",
        filters,
        titles=lists.event_listing(visit.desk.secrets).titles,
        rows=[_row(visit, story) for story in found],
        after=max([last, *(story.stored.seq for story in found)]),
        most=_ROWS,
        query=visit.request.url.query,
    )


async def stream(visit: Visit) -> Response:
    """Sends new events as they come, once a second at most."""
    wanted = chosen((_TYPE, SOURCE, PERSON), visit)
    given = visit.request.headers.get("last-event-id") or visit.request.query_params.get("after")
    after = int(given[:18]) if given and given.isascii() and given.isdecimal() else None
    return StreamingResponse(
        tail(visit, wanted, after),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no"},
    )


async def tail(visit: Visit, wanted: dict[str, Any], after: int | None) -> AsyncGenerator[str]:
    """Yields the events after a sequence number as they come; None: after the last one."""
    yield "retry: 1000\n\n"
    unseen: Unseen | None = None
    for _ in range(_LOOKS):
        try:
            async with visit.desk.reader() as reader:
                last = await reader.last_seq()
                unseen = unseen or Unseen(reader, last if after is None else after)
                lowest, found = unseen.start + 1, []
                if last >= lowest:
                    found = [s async for s in _events(reader, **wanted, lowest=lowest, limit=_ROWS)]
        except StoreError:
            return
        stories = {story.stored.seq: story for story in reversed(found)}
        new = unseen.of([story.stored for story in stories.values()])
        unseen.pass_(max([last, *stories]))
        for stored in new:
            cells = [_cell(*each) for each in _row(visit, stories[stored.seq])]
            yield f"id: {stored.seq}\ndata: {msgspec.json.encode(cells).decode()}\n\n"
        if not new:
            yield f"id: {max([last, *stories])}\n: nothing new\n\n"
        await asyncio.sleep(_POLL)


def _row(visit: Visit, story: Story) -> list[tuple[str, str | None]]:
    return linked(EVENTS.listing(visit).row(visit.seen(story)), EVENTS.links(story))


def _cell(text: str, link: str | None) -> dict[str, str | None]:
    """Returns a cell for the script: its text, its address, and the moment in UTC if it is one."""
    moment = text.moment if isinstance(text, ShownTime) else None
    utc = f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else None
    return {"text": escape(text), "link": link, "utc": utc}


LIVE = (Page("/live", Role.VIEWER, live), Page("/live/events", Role.VIEWER, stream))

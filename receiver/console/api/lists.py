"""Lists of the API. Those that the console has, too, are read by its pages (`ListPage.read`)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from receiver.console.api import records
from receiver.console.api.operations import ROOT, Call, Operation, answer
from receiver.console.api.records import Content, Shape
from receiver.console.filters import PERSON, SINCE, SOURCE, UNTIL, Filter, chosen, limit_of
from receiver.console.lists import MOST, PAGE, ListPage
from receiver.console.pages import EVENTS, MESSAGES
from receiver.console.people import STATE
from receiver.console.roles import Role
from receiver.console.web import Visit
from receiver.console.work import JOBS, QUARANTINE
from receiver.errors import InvalidInput
from receiver.store import OptOutEntry, Reader, Subscription
from receiver.views import lists, subscribers
from receiver.views.listing import Listing

LIMIT = Filter("limit", f"Records on a page, at most {MOST}", "number")
SKIP = Filter("skip", "Of the link to the next page", "number")
AFTER = Filter("after", "Of the link to the next page")

Read = Callable[[Visit, int], Awaitable[tuple[list[Any], dict[str, str] | None]]]


def listed(
    path: str,
    about: str,
    shapes: Sequence[Shape],
    listing: Callable[[Visit], Listing[Any]],
    read: Read,
    filters: Sequence[Filter],
    role: Role,
) -> Operation:
    """Returns the call of a list."""

    async def endpoint(call: Call) -> Response:
        found, more = await read(call, limit_of(call, PAGE, MOST))
        shown = listing(call)
        lines = [msgspec.Raw(shown.line(call.seen(record))) for record in found]
        following = f"{ROOT}{path}?{urlencode(more)}" if more else None
        return answer({"data": lines, "next": following})

    endpoint.__doc__ = about
    return Operation("GET", path, role, endpoint, Content(shapes, page=True), [*filters, LIMIT])


def _of_page(page: ListPage[Any], *shapes: Shape) -> Operation:
    """Returns the list that a page of the console shows."""
    filters = [*page.every_filter, SKIP]
    return listed(page.path, page.about, shapes, page.listing, page.read, filters, page.role)


# Opt-outs


async def _opted_out(
    reader: Reader,
    *,
    msisdn: str | None = None,
    since: Any = None,
    until: Any = None,
    limit: int | None = None,
) -> AsyncGenerator[OptOutEntry]:
    async with aclosing(reader.opt_outs.every(msisdn, until=until)) as found:
        async for entry in found:
            if since is not None and entry.time < since:
                return
            yield entry


_OPT_OUTS = ListPage[OptOutEntry](
    path="/opt-outs",
    title="Opt-outs",
    about="Lists who must not be messaged, the newest first.",
    role=Role.CARE,
    filters=(PERSON,),
    listing=lambda _: lists.opt_out_listing(),
    find=_opted_out,
    time=lambda entry: entry.time,
)

# The book

_BOOK_FILTERS = (
    SOURCE,
    *(Filter("service_id", "Service"), Filter("short_code", "Short code")),
    *(STATE, PERSON, SINCE, UNTIL),
)


async def _book(visit: Visit, limit: int) -> tuple[list[Subscription], dict[str, str] | None]:
    """Returns lines of the book `after` that of a key, and the query of the page after them.

    The page of the console goes on at a line; who asks for all of them would have to begin anew if
    that line is deleted meanwhile.
    """
    given = visit.request.query_params
    after = _key(given["after"]) if "after" in given else None
    found: list[Subscription] = []
    async with (
        visit.desk.reader() as reader,
        aclosing(reader.subscriptions.find(**chosen(_BOOK_FILTERS, visit), after=after)) as lines,
    ):
        async for line in lines:
            if len(found) == limit:
                last = found[-1]
                key = (last.msisdn, last.source, last.short_code, last.service_id)
                token = base64.urlsafe_b64encode(msgspec.json.encode(key)).decode()
                return found, {**given, "after": token}
            found.append(line)
    return found, None


def _key(text: str) -> tuple[str, str, str, str]:
    """Returns the key in a link. It holds nothing that its list does not show."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=tuple[str, str, str, str])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidInput("expected what a link `next` has", "after") from None


LISTS: tuple[Operation, ...] = (
    _of_page(MESSAGES, records.SENT),
    _of_page(EVENTS, *records.EVENTS),
    _of_page(_OPT_OUTS, records.OPT_OUT),
    listed(
        "/subscriptions",
        "Lists the subscription book by number.",
        [records.SUBSCRIPTION],
        lambda _: lists.subscriber_listing(subscribers.COLUMNS),
        _book,
        [*_BOOK_FILTERS, AFTER],
        Role.CARE,  # the link to the next page holds a number
    ),
    _of_page(JOBS, records.JOB),
    _of_page(QUARANTINE, records.QUARANTINED),
)

"""Lists of the API. Those that the console has, too, are read by its pages (`ListPage.read`)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from receiver.console.api import records
from receiver.console.api.operations import ROOT, Call, Operation, answer
from receiver.console.api.records import Content, Shape
from receiver.console.filters import PERSON, SINCE, SOURCE, UNTIL, Filter, chosen
from receiver.console.lists import MOST, PAGE, ListPage
from receiver.console.pages import EVENTS, MESSAGES
from receiver.console.roles import Role
from receiver.console.web import Visit
from receiver.errors import InvalidInput
from receiver.store import OptOutEntry, Quarantined, Reader, Subscription
from receiver.views import lists, subscribers
from receiver.views.listing import Listing
from receiver.views.lists import ListedJob

T = TypeVar("T")

LIMIT = Filter(name="limit", label=f"Records on a page, at most {MOST}", kind="number")
SKIP = Filter(name="skip", label="Of the link to the next page", kind="number")
AFTER = Filter(name="after", label="Of the link to the next page")

Read = Callable[[Visit, int], Awaitable[tuple[list[Any], dict[str, str] | None]]]


def listed(
    path: str,
    about: str,
    shapes: Sequence[Shape],
    listing: Callable[[Visit], Listing[Any]],
    read: Read,
    filters: Sequence[Filter],
    *,
    role: Role = Role.VIEWER,
) -> Operation:
    """Returns the call of a list."""

    async def endpoint(call: Call) -> Response:
        found, more = await read(call, _limit(call))
        shown = listing(call)
        lines = [msgspec.Raw(shown.line(call.seen(record))) for record in found]
        following = f"{ROOT}{path}?{urlencode(more)}" if more else None
        return answer({"data": lines, "next": following})

    return Operation(
        method="GET",
        path=path,
        role=role,
        about=about,
        endpoint=endpoint,
        query=[*filters, LIMIT],
        answer=Content(shapes, page=True),
    )


def _limit(call: Call) -> int:
    text = call.request.query_params.get("limit", str(PAGE))
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= MOST):
        raise InvalidInput(f"expected 1 to {MOST}, got {text!r}", "limit")
    return int(text)


def _of_page(page: ListPage[Any], shapes: Sequence[Shape]) -> Operation:
    """Returns the list that a page of the console shows."""
    return listed(
        page.path,
        page.about,
        shapes,
        page.listing,
        page.read,
        [*page.every_filter, SKIP],
        role=page.role,
    )


def keyed(
    find: Callable[..., AsyncGenerator[T]],
    key: Callable[[T], Any],
    filters: Sequence[Filter],
    type_: Any,
) -> Read:
    """Returns the reading of a list that goes on `after` the key of the last record."""

    async def read(visit: Visit, limit: int) -> tuple[list[T], dict[str, str] | None]:
        given = visit.request.query_params
        values = chosen(filters, visit)
        values["after"] = _key(given["after"], type_) if "after" in given else None
        found: list[T] = []
        async with visit.desk.reader() as reader, aclosing(find(reader, **values)) as every:
            async for record in every:
                found.append(record)
                if len(found) > limit:
                    break
        if len(found) <= limit:
            return found, None
        found.pop()
        token = base64.urlsafe_b64encode(msgspec.json.encode(key(found[-1]))).decode()
        return found, {**dict(given.items()), "after": token}

    return read


def _key(text: str, type_: Any) -> Any:
    """Returns the key in a link. It holds nothing that its list does not show."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=type_)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidInput("expected what a link `next` has", "after") from None


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
            if until is not None and entry.time >= until:
                continue  # of one person all are read
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
    Filter(name="service_id", label="Service"),
    Filter(name="short_code", label="Short code"),
    Filter(name="state", label="State", kind="choice", choices=("active", "inactive")),
    PERSON,
    SINCE,
    UNTIL,
)


def _book(reader: Reader, **wanted: Any) -> AsyncGenerator[Subscription]:
    return reader.subscriptions.find(**wanted)


def _place(line: Subscription) -> tuple[str, ...]:
    return line.msisdn, line.source, line.short_code, line.service_id


# Work

_JOB_FILTERS = (
    Filter(name="state", label="State", kind="choice", choices=("due", "dead")),
    Filter(
        name="kind",
        label="Kind",
        kind="choice",
        choices=("handle", "send", "poll", "forward", "deactivate", "campaign"),
    ),
)


async def _jobs(reader: Reader, after: int | None = None, **wanted: Any) -> Any:
    async with aclosing(reader.every_job(after=after or 0, **wanted)) as found:
        async for job in found:
            event = None if job.event is None else reader.ids.text(job.event)
            yield ListedJob(job, event)


def _quarantined(reader: Reader, *, after: int | None) -> AsyncGenerator[Quarantined]:
    return reader.every_quarantined(before=after)


LISTS: tuple[Operation, ...] = (
    _of_page(MESSAGES, [records.SENT]),
    _of_page(EVENTS, records.EVENTS),
    _of_page(_OPT_OUTS, [records.OPT_OUT]),
    listed(
        "/subscriptions",
        "Lists the subscription book by number.",
        [records.SUBSCRIPTION],
        lambda _: lists.subscriber_listing(subscribers.COLUMNS),
        keyed(_book, _place, _BOOK_FILTERS, tuple[str, str, str, str]),
        [*_BOOK_FILTERS, AFTER],
        role=Role.CARE,  # the link to the next page holds a number
    ),
    listed(
        "/jobs",
        "Lists background work and dead letters, the oldest first.",
        [records.JOB],
        lambda visit: lists.job_listing(visit.desk.secrets),
        keyed(_jobs, lambda listed: listed.job.id, _JOB_FILTERS, int),
        [*_JOB_FILTERS, AFTER],
    ),
    listed(
        "/quarantine",
        "Lists requests that could not become events, the newest first.",
        [records.QUARANTINED],
        lambda visit: lists.quarantine_listing(visit.desk.secrets),
        keyed(_quarantined, lambda entry: entry.id, (), int),
        [AFTER],
    ),
)

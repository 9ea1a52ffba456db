"""The pages about subscribers and opt-outs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from receiver.console.filters import PERSON, SOURCE, TIMES, Filter, following
from receiver.console.lists import ListPage, Paging, oldest_first
from receiver.console.roles import Role
from receiver.console.sheets import Block, Line, Plot, Sheet
from receiver.console.web import Visit, path_of
from receiver.service.growth import ServiceCount, make_growth
from receiver.store import BookLine, NearMiss, OptOutChange, Reader, SubscriptionStep
from receiver.views import lists, subscribers
from receiver.views.report import DAYS, span
from receiver.views.times import shown_zone

_SERVICE = Filter("service", "Service", argument="service_id")
_SHORT_CODE = Filter("short_code", "Short code")
_KEYWORD = Filter("keyword", "Keyword")
STATE = Filter("state", "State", "choice", ("active", "inactive"))
_BOOK = (_SERVICE, _SHORT_CODE, SOURCE, _KEYWORD, STATE, PERSON)


def _book(reader: Reader, *, limit: int, **wanted: Any) -> AsyncGenerator[BookLine]:
    return reader.subscriptions.lines(**wanted)


def _steps(reader: Reader, *, limit: int, **wanted: Any) -> AsyncGenerator[SubscriptionStep]:
    return reader.subscriptions.history(**wanted)


def _step_links(step: SubscriptionStep) -> Sequence[str | None]:
    event = path_of("events", step.event) if step.event else None
    person = path_of("events", step.event, "person") if step.event else None
    return (person, *[None] * (len(subscribers.HISTORY_COLUMNS) - 3), event)


async def _growth(
    visit: Visit, since: datetime | None = None, until: datetime | None = None, **wanted: Any
) -> Sequence[Block]:
    begin, end = span(since, until)
    async with visit.desk.reader() as reader:
        growth = await make_growth(reader, begin, end, shown_zone.get(), **wanted)
    return [
        Block(
            title="Services",
            columns=subscribers.COUNT_COLUMNS[1:],
            records=[subscribers.subscriber_json(count) for count in growth.services],
            if_empty="Nobody has subscribed to anything.",
        ),
        Block(
            title="By day",
            about="Days without a change are left out.",
            columns=subscribers.COUNT_COLUMNS,
            records=[subscribers.subscriber_json(count) for count in reversed(growth.days)],
            plot=_plot(growth.days),
            if_empty="Nobody joined or left in this time.",
        ),
    ]


def _plot(counts: Sequence[ServiceCount]) -> Plot | None:
    """Returns who joined and left on each day, of all services together."""
    sums: dict[date, tuple[int, int]] = {}
    for count in counts:
        if count.day is not None:
            joined, left = sums.get(count.day, (0, 0))
            sums[count.day] = joined + count.joined, left + count.left
    if not sums:
        return None
    first, last = min(sums), max(sums)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return Plot(
        title="Joined and left a day",
        times=days,
        lines=[
            Line("Joined", [sums.get(day, (0, 0))[0] for day in days]),
            Line("Left", [sums.get(day, (0, 0))[1] for day in days]),
        ],
    )


SUBSCRIBERS = ListPage[BookLine](
    path="/subscribers",
    title="Subscribers",
    about="Who is or was subscribed to which service, by number; times are of the last change.",
    filters=(*_BOOK, following("place")),
    listing=lambda _: lists.subscriber_listing(subscribers.COLUMNS),
    find=_book,
    paging=Paging(key=lambda line: line.place, parameter="place", more="More"),
)
HISTORY = ListPage[SubscriptionStep](
    path="/subscribers/history",
    title="History of subscriptions",
    about="Every change of a subscription, the oldest first.",
    filters=_BOOK,
    listing=lambda _: lists.subscriber_listing(subscribers.HISTORY_COLUMNS),
    find=_steps,
    paging=oldest_first(lambda step: step.since),
    links=_step_links,
)
GROWTH = Sheet(
    path="/subscribers/growth",
    title="Growth",
    about=f"Who joined, who left and who was active at the end; {DAYS} days unless you say"
    " otherwise. Churn is the share who left, of those who were active or joined.",
    filters=(_SERVICE, _SHORT_CODE, SOURCE, *TIMES),
    blocks=_growth,
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
    links=lambda change: (
        *(None, path_of("persons", change.msisdn), None, None, None, None),
        path_of("events", change.event) if change.event else None,
    ),
)
NEAR_MISSES = ListPage[NearMiss](
    path="/opt-outs/near-misses",
    title="Near misses",
    about="Messages that may have been meant as STOP and did not opt out.",
    role=Role.CARE,
    listing=lambda _: lists.near_miss_listing(),
    find=lambda reader, **wanted: reader.opt_outs.every_near_miss(**wanted),
    time=lambda miss: miss.time,
    links=lambda miss: (
        *(None, path_of("persons", miss.msisdn) if miss.msisdn else None, None, None, None, None),
        path_of("events", miss.event),
    ),
)

LISTS: tuple[ListPage[Any], ...] = (SUBSCRIBERS, HISTORY, OPT_OUTS, NEAR_MISSES)

"""The pages with counts: reports, keywords and delivery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from receiver.console.filters import SOURCE, TIMES, Filter
from receiver.console.sheets import Block, Line, Plot, Records, Sheet
from receiver.console.web import Visit, path_of
from receiver.errors import InvalidInput
from receiver.events import EventType, Message
from receiver.service.report import DAY, NAMES, Report, kinds, make_report
from receiver.service.stories import stories_of
from receiver.store import Reader, StoredMessage
from receiver.text.days import days as days_between
from receiver.views.listing import Columns
from receiver.views.report import DAYS, columns, rows, span
from receiver.views.stories import answered
from receiver.views.times import shown_zone

#: Keywords in a plot, and in a table.
_LINES = 6
_KEYWORDS = 100
#: Newest messages in that are searched for those without an answer.
_UNANSWERED = 500
#: Newest messages out whose failures, senders and times are counted.
_MESSAGES = 2000
_FAILED = ("undelivered", "failed", "rejected", "expired", "cancelled")
#: Stands for a name that is empty.
_NONE = "(none)"
_OPEN = ("unknown", "queued", "sent")


# Reports


async def _report(
    visit: Visit, by: str = DAY, since: datetime | None = None, until: datetime | None = None
) -> Sequence[Block]:
    names = [name.strip() for name in by.split(",")]
    if not set(names) <= set(NAMES) or len(set(names)) < len(names) or not kinds(names):
        raise InvalidInput(
            f"expected some of {', '.join(NAMES)} that a count has, got {by!r}", "by"
        )
    begin, end = span(since, until)
    async with visit.desk.reader() as reader:
        report = await make_report(reader, names, begin, end, shown_zone.get())
    return [
        Block(
            title=f"By {', '.join(names)}",
            columns=columns(report),
            records=list(rows(report)),
            plot=_by_day(report, report.kinds, begin, end) if DAY in names else None,
            if_empty="Nothing was counted in this time.",
        )
    ]


def _by_day(report: Report, wanted: Sequence[str], begin: datetime, end: datetime) -> Plot:
    """Returns the plot of counts by day, whatever else is told apart."""
    sums: dict[Any, Counter[str]] = {}
    for day, counted in report.rows:
        sums.setdefault(day, Counter()).update(counted.counts)
    days = _days(sums, begin, end)
    return Plot(
        title="A day",
        times=days,
        lines=[
            Line(kind.capitalize(), [sums.get(day, Counter())[kind] for day in days])
            for kind in wanted
        ],
    )


def _days(counted: Iterable[Any], begin: datetime, end: datetime) -> list[Any]:
    """Returns the days of a time, from the first that has a count on."""
    first = min(counted, default=None)
    every = [day for day, _, _ in days_between(begin, end, shown_zone.get())]
    return [day for day in every if first is not None and day >= first]


#: What reports may tell apart.
_REPORTS = (
    DAY,
    *(name for name in NAMES if name != DAY),
    *(f"{DAY},{name}" for name in NAMES if name != DAY),
    *("source,status", "network,status"),
)
REPORTS = Sheet(
    path="/reports",
    title="Reports",
    about=f"Counts of messages, delivery reports and subscriptions; {DAYS} days unless you say"
    " otherwise. An event counts when it came, a message out when it was asked for.",
    filters=(Filter("by", "By", "choice", _REPORTS, unset=DAY), *TIMES),
    blocks=_report,
)


# Keywords


async def _keywords(
    visit: Visit, since: datetime | None = None, until: datetime | None = None
) -> Sequence[Block]:
    begin, end = span(since, until)
    async with visit.desk.reader() as reader:
        report = await make_report(reader, [DAY, "keyword"], begin, end, shown_zone.get())
        unanswered = await _nobody(reader, begin, end)
    sums: Counter[str] = Counter()
    for _, counted in report.rows:
        sums[counted.values[0]] += counted.counts.get("received", 0)
    total = sums.total()
    hits = [
        {"keyword": word, "received": count, "share": f"{100 * count / total:.0f}"}
        for word, count in sums.most_common(_KEYWORDS)
        if count
    ]
    return [
        Block(
            title="Hits",
            about=f"The first words of messages that came, at most {_KEYWORDS}.",
            columns=("keyword", ("MESSAGES", "received"), ("SHARE %", "share")),
            records=hits,
            plot=_hits(visit, report, [word for word, _ in sums.most_common(_LINES)], begin, end),
            if_empty="No message came in this time.",
        ),
        Block(
            title="Unanswered",
            about=f"Those of the newest {_UNANSWERED} messages that no rule fitted, by first word.",
            columns=("keyword", "messages", ("LAST", "text")),
            records=unanswered,
            if_empty="Every message was answered, or it was decided not to.",
            links=lambda record: (None, None, path_of("events", record["event"])),
        ),
    ]


def _hits(
    visit: Visit, report: Report, words: Sequence[str], begin: datetime, end: datetime
) -> Plot:
    counts = {
        (day, counted.values[0]): counted.counts.get("received", 0) for day, counted in report.rows
    }
    days = _days({day for day, _ in counts}, begin, end)
    return Plot(
        title="A day",
        times=days,
        lines=[
            Line(visit.seen(word) or _NONE, [counts.get((day, word), 0) for day in days])
            for word in words
        ],
    )


async def _nobody(reader: Reader, begin: datetime, end: datetime) -> Records:
    """Returns the messages that no rule fitted, by keyword, the most frequent first."""
    found = reader.events(
        type_=EventType.MESSAGE_RECEIVED, since=begin, until=end, limit=_UNANSWERED
    )
    groups: dict[str, dict[str, Any]] = {}
    async for story in stories_of(reader, found):
        how, data = answered(story), story.stored.event.data
        if how is None or how.how != "nobody" or not isinstance(data, Message):
            continue
        word = data.keyword or ""
        group = groups.setdefault(
            word,
            {"keyword": word, "messages": 0, "text": data.text, "event": story.stored.event.id},
        )
        group["messages"] += 1
    return sorted(groups.values(), key=lambda group: -group["messages"])


KEYWORDS = Sheet(
    path="/keywords",
    title="Keywords",
    about=f"What people wrote, and what nothing answers; {DAYS} days unless you say otherwise.",
    filters=TIMES,
    blocks=_keywords,
)


# Delivery


async def _delivery(
    visit: Visit,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Sequence[Block]:
    begin, end = span(since, until)
    async with visit.desk.reader() as reader:
        by_source = await reader.rollups.counts(["source", "status"], begin, end)
        by_network = await reader.rollups.counts(["network", "source", "status"], begin, end)
        newest = await reader.messages.find(source=source, since=begin, until=end, limit=_MESSAGES)
    of_sources = [
        (name, status, each.counts.get("outgoing", 0))
        for each in by_source
        for name, status in [each.values]
        if source in (None, name)
    ]
    of_networks = [
        (network, status, each.counts.get("reports", 0))
        for each in by_network
        for network, theirs, status in [each.values]
        if source in (None, theirs)
    ]
    recent = f"Of the newest {_MESSAGES:,} messages of this time."
    return [
        Block(
            title="By source",
            about="Messages out, by their status now.",
            columns=(("SOURCE", "name"), *_FUNNEL),
            records=_funnel(of_sources),
            if_empty="Nothing was sent in this time.",
        ),
        Block(
            title="By network",
            about="Delivery reports that came, by their status: a message may have several.",
            columns=(("NETWORK", "name"), *_FUNNEL),
            records=_funnel(of_networks),
            if_empty="No delivery report came in this time.",
        ),
        Block(
            title="By sender",
            about=recent,
            columns=(("SENDER", "name"), *_FUNNEL, ("SECONDS UNTIL DELIVERED", "seconds")),
            records=_senders(newest),
            if_empty="Nothing was sent in this time.",
        ),
        Block(
            title="Failures",
            about=recent,
            columns=("source", "status", "code", ("MESSAGES", "count"), ("REASON", "error")),
            records=_failures(newest),
            if_empty="No message failed.",
            links=lambda record: (
                None,
                f"/messages?source={path_of(record['source'])[1:]}&status={record['status']}",
            ),
        ),
    ]


_FUNNEL: Columns = (
    *(("MESSAGES", "every"), ("UNDER WAY", "open"), "failed"),
    *("delivered", ("DELIVERED %", "share")),
)


def _funnel(counted: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Returns what became of messages, by name: takes name, status and count."""
    groups: dict[str, Counter[str]] = {}
    for name, status, count in counted:
        groups.setdefault(name, Counter())[status] += count
    return [
        {
            "name": name or _NONE,
            "every": statuses.total(),
            "open": sum(statuses[status] for status in _OPEN),
            "failed": sum(statuses[status] for status in _FAILED),
            "delivered": statuses["delivered"],
            "share": f"{100 * statuses['delivered'] / statuses.total():.0f}",
        }
        for name, statuses in sorted(groups.items())
        if statuses.total()
    ]


def _senders(messages: Sequence[StoredMessage]) -> list[dict[str, Any]]:
    found = _funnel((each.sender or "", each.status.value, 1) for each in messages)
    for group in found:
        took = [
            (each.updated_at - each.sent_at).total_seconds()
            for each in messages
            if each.status == "delivered"
            and each.sent_at
            and (each.sender or _NONE) == group["name"]
        ]
        group["seconds"] = f"{median(took):.1f}" if took else None
    return found


def _failures(messages: Sequence[StoredMessage]) -> list[dict[str, Any]]:
    found: Counter[tuple[str, str, str | None]] = Counter()
    errors: dict[tuple[str, str, str | None], str | None] = {}
    for each in messages:
        if each.status in _FAILED:
            key = (each.source, each.status.value, each.code)
            found[key] += 1
            errors.setdefault(key, each.error)
    return [
        {"source": key[0], "status": key[1], "code": key[2], "count": n, "error": errors[key]}
        for key, n in found.most_common(_KEYWORDS)
    ]


DELIVERY = Sheet(
    path="/delivery",
    title="Delivery",
    about=f"What became of messages; {DAYS} days unless you say otherwise.",
    filters=(SOURCE, *TIMES),
    blocks=_delivery,
)
SHEETS = (REPORTS, KEYWORDS, DELIVERY)

"""The pages about one thing: an event, a message, a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from starlette.responses import RedirectResponse, Response

from receiver.console.explaining import rules_of
from receiver.console.lists import ListPage, linked
from receiver.console.roles import Role
from receiver.console.traffic import MESSAGES
from receiver.console.web import Page, Visit, id_of, path_of
from receiver.console.work import FORWARDS, JOBS, raw_request
from receiver.errors import NotFound, ReceiverError
from receiver.events import SHORT_ID, Message
from receiver.service.explain import explain
from receiver.service.numbers import parse_msisdn, parse_person
from receiver.service.person import Record, timeline
from receiver.service.stories import Story, stories
from receiver.store import (
    Job,
    MessageReport,
    OptOutChange,
    StoredEvent,
    StoredMessage,
    SubscriptionStep,
)
from receiver.views.explain import RULE_TITLES
from receiver.views.lists import ListedJob
from receiver.views.messages import message_details
from receiver.views.person import entry_row
from receiver.views.redact import redact_entry, redact_message, redact_report, redact_story
from receiver.views.stories import change_summary, told_details
from receiver.views.times import format_time, time_title

#: Entries of a timeline.
_ENTRIES = 200
#: Name, explanation, titles and rows.
Table = tuple[str, str, Sequence[str], list[list[tuple[str, str | None]]]]


async def event(visit: Visit) -> Response:
    """Shows an event, its answer and all that followed; the request as it came to operators."""
    async with visit.desk.reader() as reader:
        id_ = await reader.whole_id(visit.request.path_params["id"])
        stored = await reader.event(id_)
        if stored is None:
            raise NotFound(f"{id_}: no such event")
        [story] = await stories(reader, [stored])
        attempts = [each async for each in reader.forwards.every(event=stored.seq, limit=_ENTRIES)]
    seen = redact_story(visit.seen(story), visit.desk.secrets)
    pairs = told_details(seen, visit.desk.providers)
    pairs += [("change", change_summary(change)) for change in seen.changes]
    jobs = [ListedJob(job, id_) for job in story.jobs]
    return visit.page(
        "details.html",
        title=f"Event {id_[:8]}",
        pairs=pairs,
        links={"message": path_of("messages", str(story.reported.message))}
        if story.reported
        else {},
        tables=[
            _table(visit, MESSAGES, "Messages", "What it led to.", story.messages),
            _table(visit, JOBS, "Jobs", "What waits, or is a dead letter.", jobs),
            _table(
                visit, FORWARDS, "Forwards", "What targets answered, attempt by attempt.", attempts
            ),
            *await _rules(visit, stored),
        ],
        raw=raw_request(visit, stored.request),
        person=path_of("events", id_, "person") if story.person else None,
    )


def _table(
    visit: Visit, page: ListPage[Any], name: str, about: str, records: Sequence[Any]
) -> Table:
    """Returns records as the page that lists such shows them."""
    listing = page.listing(visit)
    rows = [linked(listing.row(visit.seen(each)), page.links(each)) for each in records]
    return name, about, listing.titles, rows


async def _rules(visit: Visit, stored: StoredEvent) -> list[Table]:
    """Returns what the rules of today say to a message; nothing for who may not see texts."""
    data = stored.event.data
    if not isinstance(data, Message) or not data.to or not visit.sees(Role.CARE):
        return []
    try:
        parts = await visit.desk.prepared.parts()
        found = await explain(parts, data.text, data.to, data.from_, stored.event.source_name)
    except ReceiverError as error:
        return [("Rules", f"They cannot be asked now: {error}", (), [])]
    about = "What the rules of today say to this message, if it came again."
    return [("Rules", about, RULE_TITLES, rules_of(found))]


async def message(visit: Visit) -> Response:
    """Shows a message and its delivery reports."""
    id_ = id_of(visit)
    async with visit.desk.reader() as reader:
        found = await reader.messages.find(id_=id_)
        if not found:
            raise NotFound(f"{id_}: no such message")
        reports = await reader.messages.reports(id_)
        jobs = await reader.jobs(message=id_, limit=_ENTRIES)
        came = {each.event: reader.ids.arrival(reader.ids.seq(each.event) or 0) for each in reports}
    secrets = visit.desk.secrets
    said = redact_message(visit.seen(found[0]), secrets)
    answers = found[0].event
    return visit.page(
        "details.html",
        title=f"Message {id_}",
        pairs=message_details(said, [], []),
        links={
            **({"event": path_of("events", answers)} if answers else {}),
            "campaign": path_of("campaigns", str(said.campaign)),
        },
        tables=[
            (
                "Delivery reports",
                "What the provider reported, in order.",
                (time_title("CAME"), "STATUS", "PROVIDER'S STATUS", "CODE", "REASON", "EVENT"),
                [
                    _report(redact_report(visit.seen(each), secrets), came[each.event])
                    for each in reports
                ],
            ),
            _table(
                visit,
                JOBS,
                "Jobs",
                "What waits, or is a dead letter.",
                [ListedJob(job, answers) for job in jobs],
            ),
        ],
        person=path_of("messages", str(id_), "person"),
    )


def _report(report: MessageReport, came: datetime) -> list[tuple[str, str | None]]:
    cells = (
        *(format_time(came), report.status, report.raw_status, report.raw_code, report.reason),
        report.event[:SHORT_ID],
    )
    return linked(cells, (*[None] * (len(cells) - 1), path_of("events", report.event)))


async def person_of_event(visit: Visit) -> Response:
    """Shows the person that an event is about, whose number the address does not hold."""
    async with visit.desk.reader() as reader:
        id_ = await reader.whole_id(visit.request.path_params["id"])
        stored = await reader.event(id_)
        found = await stories(reader, [stored]) if stored else []
    if not found or found[0].person is None:
        raise NotFound(f"{id_}: it is about nobody")
    return await _person(visit, found[0].person)


async def person_of_message(visit: Visit) -> Response:
    """Shows the person whom a message was for."""
    id_ = id_of(visit)
    async with visit.desk.reader() as reader:
        found = await reader.messages.find(id_=id_)
    if not found:
        raise NotFound(f"{id_}: no such message")
    return await _person(visit, found[0].to)


async def person(visit: Visit) -> Response:
    """Shows the person with a number."""
    return await _person(visit, visit.request.path_params["msisdn"])


async def find_person(visit: Visit) -> Response:
    """Goes to the person whose number was typed, however it was."""
    number = parse_person(visit.request.query_params.get("number", ""), visit.desk.settings)
    return RedirectResponse(path_of("persons", number), 303)


async def _person(visit: Visit, msisdn: str) -> Response:
    async with visit.desk.reader() as reader:
        found = await timeline(reader, msisdn, limit=_ENTRIES)
        opted_out = await reader.opt_outs.find(msisdn)
    if not found.entries:
        number = parse_msisdn(msisdn, visit.desk.settings)
        if number != msisdn:  # written as nothing is stored
            return await _person(visit, number)
    secrets = visit.desk.secrets
    rows = [
        (
            entry_row(redact_entry(visit.seen(entry), secrets), visit.desk.providers),
            _page_of(entry.record),
        )
        for entry in found.entries
    ]
    return visit.page(
        "person.html",
        msisdn=msisdn if visit.sees(Role.CARE) else None,
        shown=visit.seen({"to": msisdn})["to"],
        rows=rows[::-1],
        more=found.more,
        opted_out=bool(opted_out),
        sending=visit.desk.sending,
    )


def _page_of(record: Record) -> str | None:
    """Returns the page about an entry of a timeline, if there is one."""
    match record:
        case Story():
            return path_of("events", record.stored.event.id)
        case StoredMessage():
            return path_of("messages", str(record.id))
        case Job():
            return path_of("jobs", str(record.id))
        case SubscriptionStep() | OptOutChange() if record.event is not None:
            return path_of("events", record.event)
        case _:
            return None


DETAILS = (
    Page("/events/{id}", Role.VIEWER, event),
    Page("/events/{id}/person", Role.VIEWER, person_of_event),
    Page("/messages/{id:int}", Role.VIEWER, message),
    Page("/messages/{id:int}/person", Role.VIEWER, person_of_message),
    Page("/persons", Role.CARE, find_person),
    Page("/persons/{msisdn}", Role.CARE, person),
)

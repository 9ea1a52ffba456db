"""The pages about one thing: an event, a message, a person."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from receiver.console.roles import Role
from receiver.console.web import Page, Visit, path_of
from receiver.errors import NotFound
from receiver.service.numbers import parse_person
from receiver.service.person import timeline
from receiver.service.stories import stories
from receiver.views.messages import message_details
from receiver.views.person import entry_row
from receiver.views.redact import (
    redact_entry,
    redact_message,
    redact_report,
    redact_story,
)
from receiver.views.requests import request_details
from receiver.views.stories import story_details

#: Entries of a timeline.
_ENTRIES = 200
#: SQLite takes no larger number.
_HIGHEST = 2**62


async def event(visit: Visit) -> Response:
    """Shows an event, how it was answered and all that followed; the request as it came to care."""
    async with visit.desk.reader() as reader:
        id_ = await reader.whole_id(visit.request.path_params["id"])
        stored = await reader.event(id_)
        if stored is None:
            raise NotFound(f"{id_}: no such event")
        [story] = await stories(reader, [stored])
    seen = redact_story(visit.seen(story), visit.desk.secrets)
    raw = request_details(stored.request) if stored.request and visit.sees(Role.OPERATOR) else []
    return visit.page(
        "details.html",
        title=f"Event {id_[:8]}",
        pairs=story_details(seen, visit.desk.providers),
        raw=raw,
        person=path_of("events", id_, "person") if story.person else None,
    )


async def message(visit: Visit) -> Response:
    """Shows a message and its delivery reports."""
    id_ = visit.request.path_params["id"]
    number = int(id_) if id_.isascii() and id_.isdecimal() and len(id_) < 19 else _HIGHEST
    async with visit.desk.reader() as reader:
        found = await reader.messages.find(id_=number)
        if not found:
            raise NotFound(f"{id_}: no such message")
        reports = await reader.messages.reports(number)
        jobs = await reader.jobs(message=number, state="dead") if found[0].state == "dead" else []
    secrets = visit.desk.secrets
    said = redact_message(visit.seen(found[0]), secrets)
    pairs = message_details(
        said, [redact_report(visit.seen(each), secrets) for each in reports], jobs
    )
    person = path_of("messages", id_, "person")
    return visit.page("details.html", title=f"Message {id_}", pairs=pairs, raw=[], person=person)


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
    id_ = visit.request.path_params["id"]
    number = int(id_) if id_.isascii() and id_.isdecimal() and len(id_) < 19 else _HIGHEST
    async with visit.desk.reader() as reader:
        found = await reader.messages.find(id_=number)
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
        raise NotFound("nothing is stored about this number")
    secrets = visit.desk.secrets
    rows = [
        entry_row(redact_entry(visit.seen(entry), secrets), visit.desk.providers)
        for entry in found.entries
    ]
    sending = [
        name for name, source in visit.desk.settings.sources.items() if source.send is not None
    ]
    return visit.page(
        "person.html",
        msisdn=msisdn if visit.sees(Role.CARE) else None,
        shown=visit.seen({"to": msisdn})["to"],
        rows=rows[::-1],
        more=found.more,
        opted_out=bool(opted_out),
        sending=sending,
    )


DETAILS = (
    Page("/events/{id}", Role.VIEWER, event),
    Page("/events/{id}/person", Role.VIEWER, person_of_event),
    Page("/messages/{id}", Role.VIEWER, message),
    Page("/messages/{id}/person", Role.VIEWER, person_of_message),
    Page("/persons", Role.CARE, find_person),
    Page("/persons/{msisdn}", Role.CARE, person),
)

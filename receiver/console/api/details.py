"""Calls about one thing: a message, an event, a request of the quarantine, a person."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from receiver.console.api import records
from receiver.console.api.operations import Call, Operation, answer
from receiver.console.api.records import Content, Timeline
from receiver.console.filters import Filter, limit_of
from receiver.console.roles import Role
from receiver.errors import InvalidInput, NotFound
from receiver.service.numbers import parse_person
from receiver.service.person import timeline
from receiver.service.stories import stories
from receiver.views.listing import json_fields
from receiver.views.lists import event_json, quarantined_json, redact_quarantined
from receiver.views.messages import message_json
from receiver.views.person import entry_json
from receiver.views.redact import redact_entry, redact_message, redact_report, redact_story
from receiver.views.stories import story_fields

#: Entries of a timeline, unless fewer or more are asked for.
_ENTRIES = 200
_MOST_ENTRIES = 1000
_LIMIT = Filter("limit", f"Entries, at most {_MOST_ENTRIES}", "number")


async def message(call: Call) -> Response:
    """Returns a message and its delivery reports."""
    id_ = number_of(call)
    async with call.desk.reader() as reader:
        found = await reader.messages.find(id_=id_)
        if not found:
            raise NotFound(f"{id_}: no such message")
        reports = await reader.messages.reports(id_)
    secrets = call.desk.secrets
    return answer(
        {
            **message_json(redact_message(call.seen(found[0]), secrets)),
            "reports": [json_fields(redact_report(call.seen(each), secrets)) for each in reports],
        }
    )


async def event(call: Call) -> Response:
    """Returns an event, how it was answered, and all that followed from it."""
    async with call.desk.reader() as reader:
        try:
            id_ = await reader.whole_id(call.request.path_params["id"])
        except InvalidInput as error:  # no id, or the beginning of several
            raise NotFound(str(error)) from None
        stored = await reader.event(id_)
        if stored is None:
            raise NotFound(f"{id_}: no such event")
        [story] = await stories(reader, [stored])
    seen = redact_story(call.seen(story), call.desk.secrets)
    more = story_fields(seen, call.desk.providers)
    return answer(msgspec.Raw(event_json(seen, raw=call.sees(Role.OPERATOR), **more)))


async def quarantined(call: Call) -> Response:
    """Returns a request that could not become an event, as it came."""
    id_ = number_of(call)
    async with call.desk.reader() as reader:
        found = await reader.quarantined(id_)
    if not found:
        raise NotFound(f"{id_}: no such request")
    entry = redact_quarantined(found[0], call.desk.secrets)
    return answer(quarantined_json(entry, whole=True))


async def person(call: Call) -> Response:
    """Returns everything about a person in one timeline, the newest first."""
    msisdn = parse_person(call.request.path_params["msisdn"], call.desk.settings)
    limit = limit_of(call, _ENTRIES, _MOST_ENTRIES)
    async with call.desk.reader() as reader:
        found = await timeline(reader, msisdn, limit=limit)
        opted_out = bool(await reader.opt_outs.find(msisdn))
    if not found.entries:
        raise NotFound("nothing is stored about this number")
    entries = [
        msgspec.Raw(entry_json(redact_entry(entry, call.desk.secrets), call.desk.providers))
        for entry in reversed(found.entries)
    ]
    return answer({"msisdn": msisdn, "data": entries, "more": found.more, "opted_out": opted_out})


def number_of(call: Call) -> int:
    """Returns the id in the path. Raises `NotFound` for what is none."""
    text: str = call.request.path_params["id"]
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:19]) < 2**62 and len(text) < 19):
        raise NotFound(f"{text}: expected an id, a number")
    return int(text)


_QUARANTINED = records.QUARANTINED_WHOLE
DETAILS = (
    Operation("GET", "/messages/{id}", Role.VIEWER, message, Content([records.SENT_WHOLE])),
    Operation("GET", "/events/{id}", Role.VIEWER, event, Content(records.EVENTS_WHOLE)),
    Operation("GET", "/persons/{msisdn}", Role.CARE, person, Content([Timeline]), [_LIMIT]),
    Operation("GET", "/quarantine/{id}", Role.OPERATOR, quarantined, Content([_QUARANTINED])),
)

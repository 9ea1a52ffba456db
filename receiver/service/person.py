"""Collects everything about a person in one timeline.

`receiver.views.person` says it in words and as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from receiver.service.stories import Story, stories
from receiver.store import (
    AuditEntry,
    Job,
    OptOutChange,
    OptOutEntry,
    Reader,
    StoredMessage,
    SubscriptionStep,
)
from receiver.text.msisdn import mask

Kind = Literal["event", "message", "subscription", "opt-out", "kept opt-out", "job", "audit"]
Record = Story | StoredMessage | SubscriptionStep | OptOutChange | OptOutEntry | Job | AuditEntry

#: Entries of a person that are read, if there is no limit.
_ALL = 2**31
#: Entries of the audit that are gone through, the newest: it has no index by person.
_AUDITED = 1000


class Entry(msgspec.Struct, frozen=True):
    """Something that happened to a person, or waits."""

    time: datetime
    kind: Kind
    record: Record
    event: str | None = None
    """Of a job: the id of the event that it is about."""


class Timeline(msgspec.Struct, frozen=True):
    """Everything that is stored about a person."""

    entries: list[Entry]
    """The newest last."""
    more: bool
    """True if there are older ones."""


async def timeline(
    reader: Reader, msisdn: str, *, since: datetime | None = None, limit: int | None = None
) -> Timeline:
    """Returns the newest entries about a person, at most `limit`. Raises `StoreUnavailable`."""
    most = _ALL if limit is None else limit + 1  # one more shows that there are others
    events = [
        each async for each in reader.events(msisdn=msisdn, since=since, limit=min(most, _ALL))
    ]
    found = await stories(reader, events[::-1])  # of one moment: in the order of arrival
    entries = [Entry(story.stored.event.receivedat, "event", story) for story in found]
    # Background work of an event is told with it; what is sent and asked, with the message.
    jobs = [job for story in found for job in story.jobs if job.kind == "handle"]
    jobs += await reader.jobs(subject=msisdn, limit=_ALL)
    entries += [_job(reader, job) for job in jobs]
    messages = await reader.messages.find(msisdn=msisdn, since=since, limit=most)
    entries += [Entry(message.created_at, "message", message) for message in messages[::-1]]
    steps = [step async for step in reader.subscriptions.history(msisdn=msisdn)]
    entries += [Entry(step.received_at, "subscription", step) for step in steps]
    entries += await _opt_outs(reader, msisdn, most)
    entries += await _audited(reader, msisdn, since)
    newest = sorted(_since(since, entries), key=lambda entry: entry.time)
    if limit is None:
        return Timeline(newest, more=False)
    return Timeline(newest[-limit:], more=len(newest) > limit)


async def is_known(reader: Reader, msisdn: str) -> bool:
    """Returns True if anything is stored about a person. Raises `StoreUnavailable`."""
    return bool((await timeline(reader, msisdn, limit=1)).entries)


def _since(since: datetime | None, entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if since is None or entry.time >= since]


def _job(reader: Reader, job: Job) -> Entry:
    event = None if job.event is None else reader.ids.text(job.event)
    return Entry(job.created_at, "job", job, event)


async def _opt_outs(reader: Reader, msisdn: str, most: int) -> list[Entry]:
    changes = await reader.opt_outs.history(msisdn=msisdn, limit=most)
    standing = await reader.opt_outs.find(msisdn)
    # Of a person who was forgotten the opt-outs are kept, under a pseudonym and without a history.
    kept = [line for line in standing if line.msisdn != msisdn]
    return [
        *(Entry(change.time, "opt-out", change) for change in changes[::-1]),
        *(Entry(line.time, "kept opt-out", line) for line in kept),
    ]


async def _audited(reader: Reader, msisdn: str, since: datetime | None) -> list[Entry]:
    """Returns the newest acts about a number that is masked as the person's is."""
    masked = mask(msisdn)
    acts = await reader.audit.find(since=since, limit=_AUDITED)
    return [
        Entry(act.time, "audit", act)
        for act in reversed(acts)
        if masked in (act.details.get("msisdn"), act.details.get("to"))
    ]

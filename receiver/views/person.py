"""A person's timeline, in words and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from receiver.events import SHORT_ID
from receiver.service.person import Entry
from receiver.service.stories import Story
from receiver.store import (
    AuditEntry,
    Job,
    OptOutChange,
    OptOutEntry,
    StoredMessage,
    SubscriptionStep,
)
from receiver.views.events import summary, type_name
from receiver.views.jobs import job_json
from receiver.views.messages import message_json, next_step
from receiver.views.opt_outs import opt_out_json, scope
from receiver.views.stories import (
    answered,
    answered_summary,
    change_summary,
    reply_text,
    story_fields,
    story_line,
)
from receiver.views.subscribers import subscriber_json
from receiver.views.times import format_time

if TYPE_CHECKING:
    from receiver.providers import Registry

#: What an entry is, what it says, and what became of it.
Told = tuple[str, str | None, str, str]


def entry_row(entry: Entry, providers: Registry) -> tuple[str, str, str | None, str, str]:
    """Returns an entry as time, kind, id, what it is and its outcome, for a table."""
    kind, id_, what, outcome = _told(entry, providers)
    return format_time(entry.time), kind, id_ and id_[:SHORT_ID], what, outcome


def _told(entry: Entry, providers: Registry) -> Told:
    record = entry.record
    match record:
        case Story():
            told = _of_event(record, providers)
        case StoredMessage():
            told = _of_message(record)
        case SubscriptionStep():
            told = _of_subscription(record)
        case OptOutChange():
            word = "opted out" if record.change == "out" else "opted in"
            told = word, record.event, f"{scope(record)}: {record.reason}", ""
        case OptOutEntry():
            what = f"{scope(record)}: {record.reason}"
            told = "opted out", None, what, "kept when the person was forgotten"
        case Job():
            told = _of_job(record)
        case AuditEntry():
            details = msgspec.json.encode(record.details).decode()
            told = "audit", str(record.id), f"{record.act} {details}", f"by {record.who}"
        case _:
            assert_never(record)
    return told


def _of_message(message: StoredMessage) -> Told:
    outcome = ": ".join(filter(None, (str(message.status), next_step(message))))
    what = f"from {message.sender or message.source}: {message.text} ({message.handler})"
    return "sent", str(message.id), what, outcome


def _of_event(story: Story, providers: Registry) -> Told:
    event = story.stored.event
    outcome = answered_summary(story)
    found, text = answered(story), reply_text(story, providers)
    if found is not None and found.how == "answer" and text is not None:
        outcome = f"answered: {text} ({outcome})"
    changes = [change_summary(change) for change in story.changes]
    if changes and (found is None or found.how != "acted"):
        outcome = "; ".join(filter(None, (outcome, *changes)))
    if story.stored.note and story.stored.note not in outcome:
        outcome = "; ".join(filter(None, (outcome, f"note: {story.stored.note}")))
    if story.reported:
        outcome = "; ".join(filter(None, (f"of message {story.reported.message}", outcome)))
    return type_name(event), event.id, summary(event), outcome


def _of_subscription(step: SubscriptionStep) -> Told:
    service = f"service {step.service_id}" if step.service_id else None
    what = " ".join(filter(None, (step.keyword, step.short_code, service, f"at {step.source}")))
    word = "subscribed" if step.state == "active" else "unsubscribed"
    return word, step.event, what, f"by {step.reason}" if step.reason else ""


def _of_job(job: Job) -> Told:
    where = f"{job.kind} to {job.target}" if job.target else f"{job.kind} for {job.handler}"
    if job.state == "dead":
        outcome = f"dead letter: {job.error or 'no reason is known'}"
    else:
        outcome = f"due {format_time(job.due_at)}" + (f": {job.error}" if job.error else "")
    return "job", str(job.id), where, outcome


def entry_json(entry: Entry, providers: Registry) -> bytes:
    """Returns an entry as a line of JSON: the columns of the table, and the whole record."""
    word, id_, what, outcome = _told(entry, providers)
    fields = {
        "time": entry.time,
        "kind": entry.kind,
        "entry": word,
        "id": id_,
        "what": what,
        "outcome": outcome or None,
        "record": _fields(entry, providers),
    }
    return msgspec.json.encode(fields)


def _fields(entry: Entry, providers: Registry) -> Any:
    record = entry.record
    match record:
        case Story():
            return msgspec.Raw(story_line(record, **story_fields(record, providers)))
        case StoredMessage():
            return message_json(record)
        case Job():
            return job_json(record, entry.event)
        case OptOutChange() | OptOutEntry():
            return opt_out_json(record)
        case SubscriptionStep():
            return subscriber_json(record)
        case AuditEntry():
            return record
        case _:
            assert_never(record)

"""Shows events with their answers and all that followed, in words and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec.structs import replace

from receiver.events import DeliveryReport, Message, encode_event
from receiver.service.stories import Story
from receiver.store import HELD_BACK, Change, Job, ReplyState, StoredEvent, StoredMessage
from receiver.store.replies import WITHHELD
from receiver.views.events import event_details
from receiver.views.jobs import job_json, job_summary
from receiver.views.messages import message_json, next_step
from receiver.views.times import full_time

if TYPE_CHECKING:
    from receiver.providers import Registry

How = Literal["answer", "message", "silent", "waiting", "failed", "acted", "nobody"]


_EMPTY = "the reply is empty, or is for a change and nothing changed"


class Answered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The way in which an event was answered, or the reason why it was not."""

    how: How
    """`answer`: in the answer to the push; `message`: by the send API; `silent`: a handler or a
    guard decided that nothing is said; `waiting`, `failed`: a handler's job, if none else replied;
    `acted`: something was done and nothing said; `nobody`: no rule and no handler fitted."""
    by: str | None = None
    """The handler that replied: `plugin.function`."""
    rule: str | None = None
    """The rule of that plugin."""
    message: int | None = None
    """The message that the reply is."""
    status: str | None = None
    """The status of that message."""
    why: str | None = None
    """The reason for silence, delay or failure."""


def answered(story: Story) -> Answered | None:
    """Returns how an event was answered; None where nothing is and nobody expects it."""
    return _reply(story) if story.stored.reply >= ReplyState.GIVEN else _no_reply(story)


def _reply(story: Story) -> Answered:
    """Returns how the reply left, or why it is that nothing is said."""
    stored = story.stored
    by, _, rule = (stored.answered_by or "").partition(" ")
    given = Answered(how="answer", by=by or None, rule=rule or None)
    if (message := _reply_of(story, by)) is not None:
        why, status = next_step(message), message.status
        return replace(given, how="message", message=message.id, status=status, why=why)
    silence = _silence(stored)
    if silence is None and stored.reply == ReplyState.GIVEN:
        return given
    if silence is None and stored.reply == ReplyState.SENT:
        silence = "its message was purged"
    return replace(given, how="silent", why=silence or _EMPTY)


def _no_reply(story: Story) -> Answered | None:
    """Returns what is waited for, or why there is no reply."""
    work, silence = _work(story.jobs), _silence(story.stored)
    if work is not None or silence is not None:
        return work or Answered(how="silent", why=silence)
    if not isinstance(story.stored.event.data, Message):
        return None
    if story.changes:
        why = "; ".join(change_summary(change) for change in story.changes)
        return Answered(how="acted", why=why)
    return Answered(how="nobody", why="no rule fitted")


def _reply_of(story: Story, by: str) -> StoredMessage | None:
    """Returns the message that is the reply: what the handler that replied sent to the person."""
    stored = story.stored
    # An earlier version wrote GIVEN, and not by whom.
    if stored.reply != ReplyState.SENT and (stored.reply != ReplyState.GIVEN or by):
        return None
    theirs = (
        message
        for message in story.messages
        if message.to == stored.event.subject and by in ("", message.handler)
    )
    return next(theirs, None)


def _silence(stored: StoredEvent) -> str | None:
    """Returns the part of the note that says why a reply was not given."""
    for part in (stored.note or "").split("; "):
        if part.startswith(HELD_BACK) or part == WITHHELD:
            return part
    return None


def _work(jobs: tuple[Job, ...]) -> Answered | None:
    """Returns which handler is waited for, or else whose job is a dead letter."""
    handling = [job for job in jobs if job.kind == "handle"]
    for job in handling:
        if job.state == "due":
            why = f"waits for {job.handler}"
            if job.error:
                due = full_time(job.due_at)
                why = f"{job.handler} failed and is tried again at {due}: {job.error}"
            return Answered(how="waiting", by=job.handler, why=why)
    for job in handling:
        why = f"dead letter {job.id} of {job.handler}: {job.error or 'no reason is known'}"
        return Answered(how="failed", by=job.handler, why=why)
    return None


def answered_summary(story: Story) -> str:
    """Returns in a line how an event was answered, or why it was not; empty if nothing was."""
    found = answered(story)
    if found is None:
        return ""
    who = " ".join(filter(None, (found.by, found.rule))) or "yes"
    match found.how:
        case "answer":
            return who
        case "message":
            why = f": {found.why}" if found.why else ""
            return f"{who}, by message {found.message} ({found.status}{why})"
        case "silent":
            return f"silent: {found.why}" + (f" ({who})" if found.by else "")
        case "acted":
            return f"no reply: {found.why}"
        case "waiting" | "failed" | "nobody":
            return found.why or ""


def change_summary(change: Change) -> str:
    """Returns a change that an event made in a line."""
    service = f"service {change.service_id}" if change.service_id else None
    return " ".join(filter(None, (change.what, change.msisdn, change.short_code, service)))


def reply_text(story: Story, providers: Registry) -> str | None:
    """Returns the reply to an event as it went out, in the answer or by a message.

    None for one in the answer of a provider that is not known any more.
    """
    found = answered(story)
    if found is None or found.how not in ("answer", "message"):
        return None
    if found.how == "message":
        return next(each.text for each in story.messages if each.id == found.message)
    provider = providers.find(story.stored.event.provider)
    return (provider.reply_in(story.stored.answer) or None) if provider else None


def story_line(story: Story, **more: Any) -> bytes:
    """Returns the event as a line of JSON, with how it was answered, its note and its person."""
    fields = {
        "person": story.person,
        "answered": answered(story),
        "note": story.stored.note,
        **more,
    }
    return encode_event(story.stored.event)[:-1] + b"," + msgspec.json.encode(fields)[1:]


def story_fields(story: Story, providers: Registry) -> dict[str, Any]:
    """Returns all that followed from an event, as fields of JSON beside those of `story_line`."""
    stored = story.stored
    return {
        "repeat_key": stored.key,
        "answer": stored.answer.decode("utf-8", "backslashreplace"),
        "reply": reply_text(story, providers),
        "message": story.reported.message if story.reported else None,
        "messages": [message_json(message) for message in story.messages],
        "changes": story.changes,
        "jobs": [job_json(job, stored.event.id) for job in story.jobs],
    }


def told_details(story: Story, providers: Registry) -> list[tuple[str, str | None]]:
    """Returns all about an event and its answer as names and values for people."""
    pairs = event_details(story.stored, story.person)
    pairs.append(("answered", answered_summary(story) or None))
    pairs.append(("reply", reply_text(story, providers)))
    if story.reported and isinstance(story.stored.event.data, DeliveryReport):
        pairs.append(("message", f"{story.reported.message}, which this reports about"))
    return pairs


def story_details(story: Story, providers: Registry) -> list[tuple[str, str | None]]:
    """Returns all about an event and what followed from it as names and values for people."""
    pairs = told_details(story, providers)
    for message in story.messages:
        step = next_step(message)
        said = f"{message.id} to {message.to} {message.status}" + (f" ({step})" if step else "")
        pairs.append(("message", f"{said}: {message.text}"))
    pairs += [("change", change_summary(change)) for change in story.changes]
    return pairs + [("job", job_summary(job)) for job in story.jobs]

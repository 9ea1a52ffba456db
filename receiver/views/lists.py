"""The lists of the commands and of the console: what each shows of its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from receiver.events import SHORT_ID
from receiver.http.redact import masked
from receiver.service.growth import ServiceCount
from receiver.service.stories import Story
from receiver.store import (
    AuditEntry,
    ForwardAttempt,
    Job,
    NearMiss,
    OptOutChange,
    OptOutEntry,
    Quarantined,
    StoredCampaign,
    StoredMessage,
    Subscription,
)
from receiver.store.campaign_reads import CampaignCounts
from receiver.views import subscribers
from receiver.views.campaigns import CAMPAIGN_NAMES, campaign_json, progress_words
from receiver.views.events import CSV_NAMES, event_fields, summary, type_name
from receiver.views.fields import json_fields
from receiver.views.jobs import job_json
from receiver.views.listing import Listing
from receiver.views.messages import NOT_SHOWN, message_json, next_step
from receiver.views.opt_outs import opt_out_json, scope
from receiver.views.redact import redact_job, redact_message, redact_story, redact_target
from receiver.views.requests import request_json
from receiver.views.stories import answered_summary, story_line
from receiver.views.times import format_time, time_title

#: Characters of a message's text that a row shows.
_SHOWN = 40

# Events


def event_listing(
    secrets: Sequence[str], *, noted: bool = False, raw: bool = False
) -> Listing[Story]:
    """Describes the list of events.

    `secrets` are hidden in what followed; `noted`: with a column of notes; `raw`: with the request
    as it came in JSON.
    """
    titles = ("ID", time_title("RECEIVED"), "TYPE", "SOURCE", "PERSON", "WHAT", "ANSWERED")

    def row(story: Story) -> Sequence[str | None]:
        cells = event_row(redact_story(story, secrets))
        return (*cells, story.stored.note) if noted else cells

    return Listing[Story](
        titles=(*titles, "NOTE") if noted else titles,
        row=row,
        fields=lambda story: {**event_fields(story.stored), "answered": answered_summary(story)},
        names=(*CSV_NAMES, "answered"),
        json=lambda story: event_json(redact_story(story, secrets), raw=raw),
        if_empty="no events",
        most=100,
    )


def event_row(story: Story) -> Sequence[str]:
    """Returns the cells of an event in a table."""
    event = story.stored.event
    return (
        event.id[:SHORT_ID],
        format_time(event.receivedat),
        type_name(event),
        event.source_name,
        story.person or "",
        summary(event),
        answered_summary(story),
    )


def event_json(story: Story, *, raw: bool, **more: Any) -> bytes:
    """Returns an event as a line of JSON; `raw`: with the request as it came."""
    if raw and story.stored.request:
        more["raw"] = request_json(story.stored.request)
    return story_line(story, **more)


# Messages


def message_listing(secrets: Sequence[str]) -> Listing[StoredMessage]:
    """Describes the list of messages that we sent; `secrets` are hidden in providers' words."""
    return Listing[StoredMessage](
        titles=("ID", time_title("CREATED"), "SOURCE", "TO", "STATUS", "PARTS", "TEXT", "NOTE"),
        row=lambda message: _message_row(redact_message(message, secrets)),
        fields=lambda message: message_json(redact_message(message, secrets)),
        names=[name for name in StoredMessage.__struct_fields__ if name not in NOT_SHOWN],
        if_empty="no messages",
        most=100,
    )


def _message_row(message: StoredMessage) -> list[str | None]:
    text = message.text
    return [
        str(message.id),
        format_time(message.created_at),
        message.source,
        message.to,
        message.status,
        str(message.parts),
        text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…",
        next_step(message),
    ]


# Campaigns


class ListedCampaign(msgspec.Struct, frozen=True):
    """A campaign, and how far it is."""

    campaign: StoredCampaign
    counts: CampaignCounts


def campaign_listing() -> Listing[ListedCampaign]:
    """Describes the list of campaigns."""
    return Listing[ListedCampaign](
        titles=("ID", time_title("START"), "SOURCE", "STATE", "PEOPLE", "PROGRESS"),
        row=_campaign_row,
        fields=lambda listed: campaign_json(listed.campaign, listed.counts),
        names=CAMPAIGN_NAMES,
        if_empty="no campaigns",
    )


def _campaign_row(listed: ListedCampaign) -> list[str | None]:
    campaign, counts = listed.campaign, listed.counts
    return [
        str(campaign.id),
        format_time(campaign.schedule.start_at),
        campaign.source,
        campaign.state,
        f"{counts.people:,}",
        progress_words(counts),
    ]


# People


def subscriber_listing(columns: subscribers.Columns) -> Listing[Any]:
    """Describes the list of the subscription book, of its history or of its counts."""
    names = [name for _, name in columns]

    def fields(record: Subscription | ServiceCount) -> dict[str, Any]:
        found = subscribers.subscriber_json(record)
        return {name: found[name] for name in names}

    return Listing[Any](
        titles=subscribers.titles(columns),
        row=lambda record: subscribers.row(columns, subscribers.subscriber_json(record)),
        fields=fields,
        names=names,
        if_empty="no subscribers",
    )


def opt_out_listing() -> Listing[OptOutEntry]:
    """Describes the list of opt-outs."""
    return Listing[OptOutEntry](
        titles=("MSISDN", "SCOPE", time_title("SINCE"), "REASON", "SOURCE"),
        row=lambda e: (e.msisdn, scope(e), format_time(e.time), e.reason, e.source),
        fields=opt_out_json,
        names=OptOutEntry.__struct_fields__,
        if_empty="nobody has opted out",
    )


def opt_out_history_listing() -> Listing[OptOutChange]:
    """Describes the list of all changes of opt-outs."""
    return Listing[OptOutChange](
        titles=(time_title("TIME"), "MSISDN", "CHANGE", "SCOPE", "REASON", "SOURCE", "EVENT"),
        row=_change_row,
        fields=opt_out_json,
        names=OptOutChange.__struct_fields__,
        if_empty="nobody has ever opted out",
        most=1000,
    )


def _change_row(change: OptOutChange) -> tuple[str | None, ...]:
    return (
        format_time(change.time),
        change.msisdn,
        change.change,
        scope(change),
        change.reason,
        change.source,
        change.event[:SHORT_ID] if change.event else None,
    )


def near_miss_listing() -> Listing[NearMiss]:
    """Describes the list of messages that may have been meant as STOP."""
    return Listing[NearMiss](
        titles=(time_title("TIME"), "MSISDN", "TO", "TEXT", "REASON", "OPTED OUT", "EVENT"),
        row=_near_miss_row,
        fields=json_fields,
        names=NearMiss.__struct_fields__,
        if_empty="no near misses",
        most=1000,
    )


def _near_miss_row(miss: NearMiss) -> tuple[str | None, ...]:
    return (
        format_time(miss.time),
        miss.msisdn,
        miss.to,
        miss.text,
        miss.reason,
        "yes" if miss.opted_out else None,
        miss.event[:SHORT_ID],
    )


# Work


class ListedJob(msgspec.Struct, frozen=True):
    """A job, and the id of the event that it is about."""

    job: Job
    event: str | None


def job_listing(secrets: Sequence[str]) -> Listing[ListedJob]:
    """Describes the list of background work; `secrets` are hidden in errors."""
    return Listing[ListedJob](
        titles=(
            *("ID", "KIND", "STATE", "HANDLER", "TARGET", "EVENT", "ATTEMPTS"),
            *(time_title("DUE"), "ERROR"),
        ),
        row=lambda listed: _job_row(redact_job(listed.job, secrets), listed.event),
        fields=lambda listed: job_json(redact_job(listed.job, secrets), listed.event),
        names=Job.__struct_fields__,
        if_empty="no jobs",
        order="oldest",
    )


def _job_row(job: Job, event: str | None) -> list[str | None]:
    return [
        str(job.id),
        job.kind,
        job.state,
        job.handler,
        job.target,
        event[:SHORT_ID] if event else None,
        str(job.attempts),
        format_time(job.due_at) if job.state == "due" else None,
        job.error,
    ]


def forward_listing() -> Listing[ForwardAttempt]:
    """Describes the list of what targets answered when events were posted to them."""
    return Listing[ForwardAttempt](
        titles=(time_title("TIME"), "EVENT", "TARGET", "JOB", "TAKEN", "ANSWER"),
        row=_attempt_row,
        fields=lambda attempt: {**json_fields(attempt), "target": redact_target(attempt.target)},
        names=ForwardAttempt.__struct_fields__,
        if_empty="nothing was forwarded",
        most=100,
    )


def _attempt_row(attempt: ForwardAttempt) -> list[str | None]:
    return [
        format_time(attempt.time),
        attempt.event[:SHORT_ID],
        redact_target(attempt.target),
        str(attempt.job),
        "yes" if attempt.taken else "no",
        attempt.answer,
    ]


def quarantine_listing(secrets: Sequence[str]) -> Listing[Quarantined]:
    """Describes the list of requests that could not become events; `secrets` are hidden."""
    return Listing[Quarantined](
        titles=("ID", time_title("RECEIVED"), "SOURCE", "FROM", "OUTCOME", "REASON"),
        row=lambda entry: _quarantined_row(redact_quarantined(entry, secrets)),
        fields=lambda entry: quarantined_json(redact_quarantined(entry, secrets), whole=False),
        names=[name for name in Quarantined.__struct_fields__ if name != "request"],
        if_empty="the quarantine is empty",
    )


def redact_quarantined(entry: Quarantined, secrets: Sequence[str]) -> Quarantined:
    """Returns the request, with credentials masked in the reason."""
    return msgspec.structs.replace(entry, reason=masked(entry.reason, secrets))


def _quarantined_row(entry: Quarantined) -> tuple[str, ...]:
    received = format_time(entry.received_at)
    return str(entry.id), received, entry.source, entry.client, entry.outcome, entry.reason


def quarantined_json(entry: Quarantined, *, whole: bool) -> dict[str, Any]:
    """Returns the fields of a request for JSON; `whole`: with the request as it came."""
    fields = json_fields(entry)
    del fields["request"]
    return {**fields, "raw": request_json(entry.request)} if whole else fields


def audit_listing() -> Listing[AuditEntry]:
    """Describes the list of who changed data."""
    return Listing[AuditEntry](
        titles=(time_title("TIME"), "WHO", "ACT", "DETAILS"),
        row=_audit_row,
        fields=json_fields,
        names=AuditEntry.__struct_fields__,
        if_empty="no entries",
        most=1000,
    )


def _audit_row(act: AuditEntry) -> tuple[str, ...]:
    return format_time(act.time), act.who, act.act, msgspec.json.encode(act.details).decode()

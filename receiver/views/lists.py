"""The lists of the commands and of the console: what each shows of its records."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

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
    Reader,
    StoredCampaign,
    StoredMessage,
    Subscription,
)
from receiver.store.campaign_reads import CampaignCounts
from receiver.views.campaigns import CAMPAIGN_NAMES, campaign_json, progress_words
from receiver.views.events import CSV_NAMES, event_fields, summary, type_name
from receiver.views.jobs import job_json
from receiver.views.listing import Columns, Listing, json_fields, names_of
from receiver.views.messages import NOT_SHOWN, message_json, next_step
from receiver.views.opt_outs import opt_out_json, scope
from receiver.views.redact import redact_job, redact_message, redact_story, redact_target
from receiver.views.requests import request_json
from receiver.views.stories import answered_summary, story_line
from receiver.views.subscribers import subscriber_json

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
    return Listing[Story](
        columns=(
            *("id", ("RECEIVED", "receivedat")),
            ("TYPE", lambda story: type_name(story.stored.event)),
            *("source", ("PERSON", lambda story: story.person or "")),
            ("WHAT", lambda story: summary(story.stored.event)),
            *("answered", *(["note"] if noted else [])),
        ),
        fields=lambda story: {**event_fields(story.stored), "answered": answered_summary(story)},
        names=(*CSV_NAMES, "answered"),
        json=lambda story: event_json(story, raw=raw),
        redact=lambda story: redact_story(story, secrets),
        if_empty="no events",
        most=100,
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
        columns=(
            *("id", ("CREATED", "created_at"), "source", "to", "status", "parts"),
            *(("TEXT", _beginning), ("NOTE", next_step)),
        ),
        fields=message_json,
        names=[name for name in StoredMessage.__struct_fields__ if name not in NOT_SHOWN],
        redact=lambda message: redact_message(message, secrets),
        if_empty="no messages",
        most=100,
    )


def _beginning(message: StoredMessage) -> str:
    text = message.text
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


class ListedCampaign(msgspec.Struct, frozen=True):
    """A campaign, and how far it is."""

    campaign: StoredCampaign
    counts: CampaignCounts


async def with_counts(reader: Reader, campaigns: Sequence[StoredCampaign]) -> list[ListedCampaign]:
    """Returns campaigns as their list has them."""
    counts = await reader.campaigns.counts_of([each.id for each in campaigns])
    return [ListedCampaign(each, counts[each.id]) for each in campaigns]


def campaign_listing() -> Listing[ListedCampaign]:
    """Describes the list of campaigns."""
    return Listing[ListedCampaign](
        columns=(
            *("id", ("START", "start_at"), "source", "state"),
            ("PEOPLE", lambda listed: f"{listed.counts.people:,}"),
            ("PROGRESS", lambda listed: progress_words(listed.counts)),
        ),
        fields=lambda listed: campaign_json(listed.campaign, listed.counts),
        names=CAMPAIGN_NAMES,
        if_empty="no campaigns",
        most=50,
    )


# People


def subscriber_listing(columns: Columns) -> Listing[Any]:
    """Describes the list of the subscription book, of its history or of its counts."""
    names = names_of(columns)

    def fields(record: Subscription | ServiceCount) -> dict[str, Any]:
        found = subscriber_json(record)
        return {name: found[name] for name in names}

    return Listing[Any](columns=columns, fields=fields, names=names, if_empty="no subscribers")


def opt_out_listing() -> Listing[OptOutEntry]:
    """Describes the list of opt-outs."""
    return Listing[OptOutEntry](
        columns=("msisdn", ("SCOPE", scope), ("SINCE", "time"), "reason", "source"),
        fields=opt_out_json,
        names=OptOutEntry.__struct_fields__,
        if_empty="nobody has opted out",
    )


def opt_out_history_listing() -> Listing[OptOutChange]:
    """Describes the list of all changes of opt-outs."""
    return Listing[OptOutChange](
        columns=("time", "msisdn", "change", ("SCOPE", scope), "reason", "source", "event"),
        fields=opt_out_json,
        names=OptOutChange.__struct_fields__,
        if_empty="nobody has ever opted out",
        most=1000,
    )


def near_miss_listing() -> Listing[NearMiss]:
    """Describes the list of messages that may have been meant as STOP."""
    return Listing[NearMiss](
        columns=(
            *("time", "msisdn", "to", "text", "reason"),
            *(("OPTED OUT", lambda miss: "yes" if miss.opted_out else None), "event"),
        ),
        fields=json_fields,
        names=NearMiss.__struct_fields__,
        if_empty="no near misses",
        most=1000,
    )


# Work


class ListedJob(msgspec.Struct, frozen=True):
    """A job, and the id of the event that it is about."""

    job: Job
    event: str | None


async def with_events(reader: Reader, jobs: AsyncGenerator[Job]) -> AsyncGenerator[ListedJob]:
    """Yields jobs as their list has them."""
    async with aclosing(jobs) as found:
        async for job in found:
            yield ListedJob(job, None if job.event is None else reader.ids.text(job.event))


def job_listing(secrets: Sequence[str]) -> Listing[ListedJob]:
    """Describes the list of background work; `secrets` are hidden in errors."""
    return Listing[ListedJob](
        columns=(
            *("id", "kind", "state", "handler", "target", "event", "attempts"),
            *(("DUE", "due_at"), "error"),
        ),
        fields=lambda listed: job_json(listed.job, listed.event),
        names=Job.__struct_fields__,
        redact=lambda listed: ListedJob(redact_job(listed.job, secrets), listed.event),
        if_empty="no jobs",
        order="oldest",
    )


def forward_listing() -> Listing[ForwardAttempt]:
    """Describes the list of what targets answered when events were posted to them."""
    return Listing[ForwardAttempt](
        columns=("time", "event", "target", "job", "taken", "answer"),
        fields=lambda attempt: {**json_fields(attempt), "target": redact_target(attempt.target)},
        names=ForwardAttempt.__struct_fields__,
        if_empty="nothing was forwarded",
        most=100,
    )


def quarantine_listing(secrets: Sequence[str]) -> Listing[Quarantined]:
    """Describes the list of requests that could not become events; `secrets` are hidden."""
    return Listing[Quarantined](
        columns=(
            *("id", ("RECEIVED", "received_at"), "source", ("FROM", "client")),
            *("outcome", "reason"),
        ),
        fields=lambda entry: quarantined_json(entry, whole=False),
        names=[name for name in Quarantined.__struct_fields__ if name != "request"],
        redact=lambda entry: redact_quarantined(entry, secrets),
        if_empty="the quarantine is empty",
    )


def redact_quarantined(entry: Quarantined, secrets: Sequence[str]) -> Quarantined:
    """Returns the request, with credentials masked in the reason."""
    return msgspec.structs.replace(entry, reason=masked(entry.reason, secrets))


def quarantined_json(entry: Quarantined, *, whole: bool) -> dict[str, Any]:
    """Returns the fields of a request for JSON; `whole`: with the request as it came."""
    fields = json_fields(entry)
    del fields["request"]
    return {**fields, "raw": request_json(entry.request)} if whole else fields


def audit_listing() -> Listing[AuditEntry]:
    """Describes the list of who changed data."""
    return Listing[AuditEntry](
        columns=("time", "who", "act", "details"),
        fields=json_fields,
        names=AuditEntry.__struct_fields__,
        if_empty="no entries",
        most=1000,
    )

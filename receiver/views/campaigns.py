"""Campaigns, in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from receiver.outgoing import Within
from receiver.store import Reader, StoredCampaign
from receiver.store.campaign_reads import CampaignCounts
from receiver.views.listing import json_fields
from receiver.views.times import full_time

#: The fields of a campaign that are one value, for CSV.
CAMPAIGN_NAMES: Final = (
    *("id", "source", "handler", "state", "created_at", "start_at", "within", "valid_for", "rate"),
    *("ended_at", "error", "people", "waiting", "sending", "sent", "unknown", "refused"),
)


def campaign_json(campaign: StoredCampaign, counts: CampaignCounts) -> dict[str, Any]:
    """Returns the fields of a campaign for JSON."""
    schedule = campaign.schedule
    fields = {**json_fields(campaign), **json_fields(schedule), **json_fields(counts)}
    fields |= {"within": _within(schedule.within), "people": counts.people}
    return {name: fields[name] for name in (*CAMPAIGN_NAMES, "statuses")}


def progress_words(counts: CampaignCounts) -> str:
    """Returns how far a campaign is: `1,200 sent, 3 refused, 800 wait`."""
    pairs = (
        ("sent", counts.sent),
        ("refused", counts.refused),
        ("unknown", counts.unknown),
        ("under way", counts.sending),
        ("waiting", counts.waiting),
    )
    return ", ".join(f"{people:,} {word}" for word, people in pairs if people) or "nobody"


def campaign_details(
    campaign: StoredCampaign, counts: CampaignCounts, reasons: Iterable[tuple[str, str, int]]
) -> list[tuple[str, str | None]]:
    """Returns all about a campaign as names and values for people.

    `reasons`: why messages are in a state, with the number of people.
    """
    schedule = campaign.schedule
    pairs: list[tuple[str, str | None]] = [
        ("id", str(campaign.id)),
        ("source", campaign.source),
        ("requested by", campaign.handler),
        ("state", campaign.state),
        ("reason", campaign.error),
        ("created", full_time(campaign.created_at)),
        ("start", full_time(schedule.start_at)),
        ("within", _within(schedule.within)),
        ("valid for", f"{schedule.valid_for} s" if schedule.valid_for is not None else None),
        ("rate", f"{schedule.rate} people a minute" if schedule.rate else None),
        ("ended", full_time(campaign.ended_at) if campaign.ended_at else None),
        ("people", f"{counts.people:,}"),
        ("progress", progress_words(counts)),
    ]
    pairs += [(f"  {status}", f"{people:,}") for status, people in sorted(counts.statuses.items())]
    names = {"dead": "refused", "waiting": "put off"}
    for state, words, people in reasons:
        if state != "waiting" or words != "no reason is known":
            pairs.append((names.get(state, state), f"{people:,}: {words}"))
    return pairs


async def reasons_of(reader: Reader, campaign: int) -> list[tuple[str, str, int]]:
    """Returns why messages of a campaign are not sent, for `campaign_details`."""
    return [
        (state, words, people)
        for state in ("dead", "unknown", "waiting")
        for words, people in await reader.campaigns.reasons(campaign, state)
    ]


def _within(within: Within | None) -> str | None:
    if within is None:
        return None
    hours = (divmod(minutes, 60) for minutes in (within.opens, within.closes))
    return "-".join(f"{hour:02}:{minute:02}" for hour, minute in hours)

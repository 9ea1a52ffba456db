"""Messages that we sent, in words."""

from __future__ import annotations

from typing import Any

from receiver.events import Status
from receiver.store import Job, MessageReport, StoredMessage
from receiver.views.listing import json_fields
from receiver.views.times import format_time, full_time

#: Fields that are known only while the status is asked for, or while a message leaves.
NOT_SHOWN = ("polls", "valid_for")


def message_json(message: StoredMessage) -> dict[str, Any]:
    """Returns the fields of a message for JSON and CSV."""
    fields = json_fields(message)
    for name in NOT_SHOWN:
        del fields[name]
    return fields


def next_step(message: StoredMessage) -> str | None:
    """Returns what happens next, or why nothing does; None where the status says it."""
    match message.state:
        case "waiting":
            due = f"waits for campaign {message.campaign}" if message.campaign else "waits"
            if message.due_at:
                due = f"due {format_time(message.due_at)}"
            return f"{due}: {reason(message)}" if message.error else due
        case "sending":
            return "request under way"
        case "sent":
            if message.error and message.code is None:  # a remark, not the reason of a refusal
                return message.error
            return "accepted by the provider" if message.status is Status.QUEUED else None
        case "unknown":
            return reason(message)
        case "dead":
            return f"dead: {reason(message)}"


def reason(message: StoredMessage) -> str:
    """Returns why it was not sent, or the result is unknown, with the provider's code."""
    code = f" ({message.code})" if message.code else ""
    return f"{message.error or 'no reason is known'}{code}"


def message_details(
    message: StoredMessage, reports: list[MessageReport], dead_jobs: list[Job]
) -> list[tuple[str, str | None]]:
    """Returns all about a message as names and values for people."""
    pairs: list[tuple[str, str | None]] = [
        ("id", str(message.id)),
        ("source", message.source),
        ("to", message.to),
        ("sender", message.sender),
        ("text", message.text),
        ("parts", f"{message.parts} of {message.encoding}"),
        ("service_id", message.service_id),
        ("link_id", message.link_id),
        ("requested by", message.handler),
        ("event", message.event),
        ("campaign", str(message.campaign) if message.campaign else None),
        ("state", message.state),
        ("status", message.status),
        ("created", full_time(message.created_at)),
        ("sent", full_time(message.sent_at) if message.sent_at else None),
        ("changed", full_time(message.updated_at)),
        ("due", full_time(message.due_at) if message.due_at else None),
        ("attempts", str(message.attempts)),
        ("reason", reason(message) if message.error else None),
        ("provider's id", message.provider_id),
        ("cost", message.cost),
        ("balance after", message.balance),
    ]
    pairs += [("report", _told(report)) for report in reports]
    return pairs + [("job", f"{job.id} dead; `receiver jobs retry {job.id}`") for job in dead_jobs]


def _told(report: MessageReport) -> str:
    """Returns a report in a line: its event, its status, and the provider's words and code."""
    said = report.reason or report.raw_status
    words = f": {said}" if said and said.casefold() != report.status else ""
    code = f" ({report.raw_code})" if report.raw_code else ""
    return f"{report.event} {report.status}{words}{code}"

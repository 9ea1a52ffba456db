"""Background jobs in words."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.store import Job
from receiver.views.listing import json_fields
from receiver.views.times import full_time


def job_json(job: Job, event: str | None) -> dict[str, Any]:
    """Returns the fields of a job for JSON; `event` is the id of the event it is about."""
    due = job.due_at if job.state == "due" else None
    return {**json_fields(job), "event": event, "due_at": due}


def job_summary(job: Job) -> str:
    """Returns a job of an event in a line."""
    attempts = f", attempts {job.attempts}" if job.attempts else ""
    error = f": {job.error}" if job.error else ""
    return f"{job.id} {job.kind} for {job.handler}: {job.state}{attempts}{error}"


def job_details(job: Job, event: str | None) -> list[tuple[str, str | None]]:
    """Returns all about a job as names and values for people."""
    payload = msgspec.json.encode(job.payload).decode() if job.payload else None
    return [
        ("id", str(job.id)),
        ("kind", job.kind),
        ("state", job.state),
        ("handler", job.handler),
        ("target", job.target),
        ("event", event),
        ("message", str(job.message) if job.message else None),
        ("attempts", str(job.attempts)),
        ("created", full_time(job.created_at)),
        ("due", full_time(job.due_at) if job.state == "due" else None),
        ("error", job.error),
        ("payload", payload),
    ]

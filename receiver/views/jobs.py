"""Background jobs in words."""

from __future__ import annotations

from typing import Any

from receiver.store import Job
from receiver.views.fields import json_fields


def job_json(job: Job, event: str | None) -> dict[str, Any]:
    """Returns the fields of a job for JSON; `event` is the id of the event it is about."""
    due = job.due_at if job.state == "due" else None
    return {**json_fields(job), "event": event, "due_at": due}


def job_summary(job: Job) -> str:
    """Returns a job of an event in a line."""
    attempts = f", attempts {job.attempts}" if job.attempts else ""
    error = f": {job.error}" if job.error else ""
    return f"{job.id} {job.kind} for {job.handler}: {job.state}{attempts}{error}"

"""`receiver messages`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, Json, Msisdn, load, normalised
from receiver.cli.redact import redact_message, secrets_of
from receiver.events import Status
from receiver.store import Job, MessageReport, Reader, StoredMessage, open_reader

_LIMIT = 100
#: No message has this id, and nobody has so many of them.
_MOST = 2**62
#: Characters of a text that a row shows.
_SHOWN = 40


class State(StrEnum):
    """What `--state` takes."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    DEAD = "dead"


def command(
    id_: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="All about one.", show_default=False)
    ] = None,
    *,
    status: Annotated[Status | None, typer.Option(help="Only with this delivery status.")] = None,
    state: Annotated[State | None, typer.Option(help="Only in this state.")] = None,
    source: Annotated[str | None, typer.Option(help="Only through this source.")] = None,
    msisdn: Msisdn = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = _LIMIT,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """What we sent, with its delivery status."""
    settings = load(config)
    person = normalised(msisdn, settings)
    secrets = secrets_of(settings)

    async def look() -> None:
        async with open_reader(settings.store_path) as reader:
            if id_ is not None:
                await _show(reader, id_, secrets, json=json)
                return
            found = await reader.messages.find(
                status=status,
                state=state,
                source=source,
                msisdn=person,
                limit=min(limit, _MOST),
            )
        found = [redact_message(message, secrets) for message in found]
        if json:
            screen.json_lines(map(as_json, found))
            return
        titles = ("ID", "CREATED (UTC)", "SOURCE", "TO", "STATUS", "PARTS", "TEXT", "NOTE")
        screen.table(titles, [_row(message) for message in found], nothing="no messages")

    asyncio.run(look())


def as_json(message: StoredMessage) -> dict[str, Any]:
    """A message as `--json` shows it."""
    fields = msgspec.structs.asdict(message)
    del fields["polls"]  # only known while it is asked about
    return fields


def note(message: StoredMessage) -> str | None:
    """What its status does not say: what is next, or why nothing is."""
    match message.state:
        case "waiting":
            due = f"due {screen.time(message.due_at)}" if message.due_at else "waits"
            return f"{due}: {why(message)}" if message.error else due
        case "sending":
            return "under way"
        case "sent":
            return "taken by the provider" if message.status is Status.QUEUED else None
        case "unknown":
            return why(message)
        case "dead":
            return f"dead: {why(message)}"


def why(message: StoredMessage) -> str:
    """Why it was not sent, or why nobody knows, with the provider's code."""
    code = f" ({message.code})" if message.code else ""
    return f"{message.error or 'no reason is known'}{code}"


def _row(message: StoredMessage) -> list[str | None]:
    text = message.text
    return [
        str(message.id),
        screen.time(message.created_at),
        message.source,
        message.to,
        message.status,
        str(message.parts),
        text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…",
        note(message),
    ]


async def _show(reader: Reader, id_: int, secrets: list[str], *, json: bool) -> None:
    found = await reader.messages.find(id_=min(id_, _MOST))
    if not found:
        raise Failed(f"{id_}: no such message")
    message = redact_message(found[0], secrets)
    reports = await reader.messages.reports(id_)
    if json:
        screen.json_lines([{**as_json(message), "reports": reports}])
        return
    dead = message.state == "dead"
    jobs = await reader.jobs(message=id_, state="dead") if dead else []
    screen.details(_details(message, reports, jobs))


def _details(
    message: StoredMessage, reports: list[MessageReport], jobs: list[Job]
) -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = [
        ("id", str(message.id)),
        ("source", message.source),
        ("to", message.to),
        ("sender", message.sender),
        ("text", message.text),
        ("parts", f"{message.parts} of {message.encoding}"),
        ("service_id", message.service_id),
        ("link_id", message.link_id),
        ("asked for by", message.handler),
        ("event", message.event),
        ("state", message.state),
        ("status", message.status),
        ("created", f"{screen.time(message.created_at)} UTC"),
        ("sent", f"{screen.time(message.sent_at)} UTC" if message.sent_at else None),
        ("changed", f"{screen.time(message.updated_at)} UTC"),
        ("due", f"{screen.time(message.due_at)} UTC" if message.due_at else None),
        ("attempts", str(message.attempts)),
        ("why", why(message) if message.error else None),
        ("provider's id", message.provider_id),
        ("cost", message.cost),
        ("balance after", message.balance),
    ]
    pairs += [("report", f"{report.event} {report.status}") for report in reports]
    return pairs + [("job", f"{job.id} dead; `receiver jobs retry {job.id}`") for job in jobs]

"""`receiver jobs` and `receiver jobs retry`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.command_group import ListByDefault, one_or_all, report
from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, Json, load
from receiver.cli.redact import redact_job, secrets_of
from receiver.cli.wording import SHORT_ID
from receiver.store import Job, open_reader

group = typer.Typer(cls=ListByDefault, help="Background work and dead letters.")


class State(StrEnum):
    """What `--state` takes."""

    DUE = "due"
    DEAD = "dead"


@group.command("list")
def list_(
    *,
    state: Annotated[State | None, typer.Option(help="Only in this state.")] = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Lists it, the oldest first; without a further word the command does this."""
    settings = load(config)

    async def look() -> list[tuple[Job, str | None]]:
        async with open_reader(settings.store_path) as reader:
            secrets, ids = secrets_of(settings), reader.ids
            found = reader.every_job(state=state)
            return [
                (redact_job(job, secrets), None if job.event is None else ids.text(job.event))
                async for job in found
            ]

    found = asyncio.run(look())
    if json:
        screen.json_lines(_as_json(job, event) for job, event in found)
        return
    titles = ["ID", "KIND", "STATE", "HANDLER", "EVENT", "ATTEMPTS", "DUE (UTC)", "ERROR"]
    rows = [_row(job, event) for job, event in found]
    if any(job.target for job, _ in found):  # of those to be forwarded
        titles.insert(4, "TARGET")
        for row, (job, _) in zip(rows, found, strict=True):
            row.insert(4, job.target)
    screen.table(titles, rows, nothing="nothing to do")


@group.command()
def retry(
    id_: Annotated[int | None, typer.Argument(metavar="[ID]", show_default=False)] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All that are dead.")] = False,
    config: ConfigFile = None,
) -> None:
    """Makes dead letters due again."""
    # See opt_outs.
    from receiver.cli.preparing import perform, prepare
    from receiver.service.commands import RetryJobs

    wanted = one_or_all(id_, every=every)
    outcome = perform(prepare(config), RetryJobs(wanted))
    if wanted is not None and not outcome.changed and not outcome.failures:
        raise Failed(f"{wanted}: no such dead job")
    report(outcome.changed, outcome.failures, "due again")


def _as_json(job: Job, event: str | None) -> dict[str, Any]:
    due = job.due_at if job.state == "due" else None
    return {**msgspec.structs.asdict(job), "event": event, "due_at": due}


def _row(job: Job, event: str | None) -> list[str | None]:
    due = screen.time(job.due_at) if job.state == "due" else None
    short = event[:SHORT_ID] if event else None
    attempts = str(job.attempts)
    return [str(job.id), job.kind, job.state, job.handler, short, attempts, due, job.error]

"""`receiver jobs` and `receiver jobs retry`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.command_group import ListByDefault, one_or_all, report_outcome
from receiver.cli.options import ConfigFile, Json, load
from receiver.cli.redact import redact_job, secrets_of
from receiver.errors import Failed
from receiver.events import SHORT_ID
from receiver.store import Job, open_reader
from receiver.views.jobs import job_json
from receiver.views.times import format_time

group = typer.Typer(
    cls=ListByDefault, help="Lists background work and dead letters, and tries them again."
)


class State(StrEnum):
    """Values of `--state`."""

    DUE = "due"
    DEAD = "dead"


@group.command("list")
def list_(
    *,
    state: Annotated[
        State | None,
        typer.Option(help="Only this state: `due` is tried again, `dead` only after a retry."),
    ] = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Lists the jobs, the oldest first. `receiver jobs` alone does the same."""
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
        output.json_lines(job_json(job, event) for job, event in found)
        return
    titles = ["ID", "KIND", "STATE", "HANDLER", "EVENT", "ATTEMPTS", "DUE (UTC)", "ERROR"]
    rows = [_row(job, event) for job, event in found]
    if any(job.target for job, _ in found):  # only forwards have one
        titles.insert(4, "TARGET")
        for row, (job, _) in zip(rows, found, strict=True):
            row.insert(4, job.target)
    output.table(titles, rows, if_empty="no jobs")


@group.command()
def retry(
    id_: Annotated[
        int | None,
        typer.Argument(metavar="ID", help="The job, as the list shows it.", show_default=False),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All dead jobs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Makes dead jobs due again; the running service does them at once."""
    # The list does not need the plugins and providers, which take a while to load.
    from receiver.cli.parts import perform, prepare
    from receiver.service.commands import RetryJobs

    wanted = one_or_all(id_, every=every)
    outcome = perform(prepare(config), RetryJobs(wanted))
    if wanted is not None and not outcome.changed and not outcome.failures:
        raise Failed(f"{wanted}: no such dead job")
    report_outcome(outcome, "due again")


def _row(job: Job, event: str | None) -> list[str | None]:
    due = format_time(job.due_at) if job.state == "due" else None
    short = event[:SHORT_ID] if event else None
    attempts = str(job.attempts)
    return [str(job.id), job.kind, job.state, job.handler, short, attempts, due, job.error]

"""`receiver jobs`: the list, forwards; `retry`, `run`, `drop` and `forward-again`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from receiver.cli.command_group import ListByDefault, one_or_all, report_outcome
from receiver.cli.listing import between, form_of, show_stored
from receiver.cli.options import ConfigFile, Csv, Json, Limit, load, load_leniently
from receiver.cli.times import Since, Tz, Until, period
from receiver.errors import Failed
from receiver.store import ForwardAttempt, Reader, open_reader
from receiver.views.lists import ListedJob, forward_listing, job_listing, with_events
from receiver.views.redact import secrets_of

if TYPE_CHECKING:
    from receiver.service.commands import Command, Outcome

group = typer.Typer(
    cls=ListByDefault, help="Lists background work and dead letters, and tries them again."
)


_Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The job, as the list shows it.")]
_Target = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only this target, by its name or URL.")
]


_State = Literal["due", "dead"]
_Kind = Literal["handle", "send", "poll", "forward", "deactivate", "campaign"]


@group.command("list")
def list_(
    *,
    state: Annotated[
        _State | None,
        typer.Option(help="Only this state: `due` is tried again, `dead` only after a retry."),
    ] = None,
    kind: Annotated[_Kind | None, typer.Option(help="Only this kind of work.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists the jobs, the oldest first. `receiver jobs` alone does the same.

    --since and --until choose by the time at which a job was made.
    """
    form = form_of(json=json, as_csv=as_csv)
    start, end = period(since, until)
    settings = load_leniently(config)

    def find(reader: Reader, _: int | None) -> AsyncGenerator[ListedJob]:
        every = reader.every_job(state=state, kind=kind)
        return with_events(reader, between(every, "created_at", start, end))

    show_stored(settings, job_listing(secrets_of(settings)), find, form, limit)


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
    from receiver.service.commands import RetryJobs

    wanted = one_or_all(id_, every=every)
    outcome = _perform(config, RetryJobs(wanted))
    if wanted is not None and not outcome.changed and not outcome.failures:
        raise Failed(f"{wanted}: no such dead job")
    report_outcome(outcome, "due again")


@group.command("run")
def run(id_: _Id, *, config: ConfigFile = None) -> None:
    """Does a job now that waits for a later time, or tries a dead one again."""
    from receiver.service.commands import RunJob

    report_outcome(_perform(config, RunJob(id_)), "due now")


@group.command()
def drop(id_: _Id, *, config: ConfigFile = None) -> None:
    """Gives a job up: deletes it. A message that it would have sent is not sent."""
    from receiver.service.commands import DropJob

    report_outcome(_perform(config, DropJob(id_)), "given up")


@group.command()
def forwards(
    event: Annotated[
        str | None,
        typer.Argument(metavar="EVENT", help="Only this event; the beginning of its id is enough."),
    ] = None,
    *,
    target: _Target = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists what targets answered when events were posted to them, the newest first."""
    form = form_of(json=json, as_csv=as_csv)
    start, end = period(since, until)

    async def find(reader: Reader, most: int | None) -> AsyncGenerator[ForwardAttempt]:
        seq = None if event is None else reader.ids.seq(await reader.whole_id(event))
        every = reader.forwards.every(event=seq, target=target, since=start, until=end, limit=most)
        async with aclosing(every) as found:
            async for attempt in found:
                yield attempt

    show_stored(load_leniently(config), forward_listing(), find, form, limit)


@group.command("forward-again")
def forward_again(
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="The event; the beginning of its id is enough.")
    ],
    *,
    target: _Target = None,
    config: ConfigFile = None,
) -> None:
    """Posts an event once more to the targets that it was posted to."""
    from receiver.service.commands import ForwardAgain

    async def find() -> int | None:
        async with open_reader(load(config).store_address) as reader:
            return reader.ids.seq(await reader.whole_id(event))

    seq = asyncio.run(find())
    assert seq is not None
    outcome = _perform(config, ForwardAgain(seq, target))
    if not outcome.changed:
        hint = f"`receiver jobs forwards {event}` lists its attempts, `receiver jobs` what waits"
        raise Failed(f"{event}: it was posted to no such target, or waits for it; {hint}")
    report_outcome(outcome, "to be posted")


def _perform(config: Path | None, command: Command) -> Outcome:
    # The lists do not need the plugins and providers, which take a while to load.
    from receiver.cli.parts import perform, prepare

    return perform(prepare(config), command)

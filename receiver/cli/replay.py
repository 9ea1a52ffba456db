"""`receiver replay`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.exit_status import Failed, say
from receiver.cli.options import ConfigFile, Json, Msisdn, moment, normalised
from receiver.cli.preparing import prepare
from receiver.cli.replay_wording import as_json, lines, summary_lines
from receiver.cli.wording import SHORT_ID
from receiver.events import EventType, utc_now
from receiver.logs import setup
from receiver.service import commands, control
from receiver.service.parts import Parts
from receiver.service.replay import Judgement, Tally, judge
from receiver.store.replay_reads import ReplayReader, Selection, open_replay_reader

#: Events of one request to the service, done in one transaction: more would hold up the pushes.
_BATCH = 100
#: Lines of what was not done that are shown; a long run could have any number.
_MOST_FAILURES = 20


class Applied(msgspec.Struct):
    """What `--apply` has done."""

    events: int = 0
    replies: int = 0
    actions: int = 0
    handlers: int = 0
    failures: int = 0


def command(
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Received since: 2026-11-20T09:00Z, 30m, 2h, 7d."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Received before that time.")
    ] = None,
    type_: Annotated[EventType | None, typer.Option("--type", help="Only of this type.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    msisdn: Msisdn = None,
    id_: Annotated[str | None, typer.Option("--id", metavar="ID", help="Only this event.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many events, the oldest of them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that would not differ.")] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Does what is asked for now and was never done.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="With --apply: also what has been done already.")
    ] = False,
    all_events: Annotated[
        bool, typer.Option("--all-events", help="With --apply: without choosing any.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Runs stored events through today's rules, and shows what would differ."""
    if again and not apply:
        raise typer.BadParameter("--again goes with --apply")
    chosen = any(value is not None for value in (since, type_, source, msisdn, id_))
    if apply and not chosen and not all_events:
        expected = "--since, --id, --type, --source or --msisdn with it, or --all-events"
        raise typer.BadParameter(f"--apply sends messages: expected {expected}")
    parts = prepare(config)
    setup.configure(level=logging.CRITICAL)  # handlers that fail are part of what is shown
    now = utc_now()
    wanted = Selection(
        id_=id_,
        type_=type_ and str(type_),
        source=source,
        msisdn=normalised(msisdn, parts.config),
        since=moment(since, now) if since else None,
        until=moment(until, now) if until else None,
        limit=limit,
    )
    with open_replay_reader(parts.config.store_path) as chronicle:
        if id_ is not None:
            wanted = msgspec.structs.replace(wanted, id_=_whole(chronicle, id_))
        if not apply:
            _show(_Run(parts), chronicle, wanted, every=every, json=json)
    if apply:
        _apply(_Run(parts), wanted, again=again, json=json)


def _whole(chronicle: ReplayReader, id_: str) -> str:
    whole = id_ + chronicle.ids.text(0)[SHORT_ID:] if len(id_) == SHORT_ID else id_
    wanted = Selection(id_=whole)
    if chronicle.ids.seq(whole) is None or not next(chronicle.chunks(wanted), None):
        raise Failed(f"{id_}: no such event")
    return whole


class _Run:
    """The chosen events, one chunk after the other, judged and counted."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.tally = Tally()
        self.finished = False

    def chunks(self, chronicle: ReplayReader, wanted: Selection) -> Generator[list[Judgement]]:
        """What became of each chunk; a bar on a terminal tells how far it is."""
        dispatcher, people, tally = self.parts.dispatcher, self.parts.people, self.tally
        first, last = chronicle.bounds(wanted)
        with screen.progress(first, last + 1) as advance:
            for chunk in chronicle.chunks(wanted):
                judged = [judge(dispatcher, people, happened) for happened in chunk]
                for one in judged:
                    tally.add(one)
                yield judged
                advance(chunk[-1].seq + 1, tally.events)
        self.finished = True


def _show(
    run: _Run, chronicle: ReplayReader, wanted: Selection, *, every: bool, json: bool
) -> None:
    if not json:
        screen.line(f"{'ID':<18}  {'RECEIVED (UTC)':<19}  {'PERSON':<13}  THEN → NOW")
    try:
        with closing(run.chunks(chronicle, wanted)) as chunks:
            for judged in chunks:
                shown = [one for one in judged if every or one.differs or one.failing]
                if json:
                    screen.json_lines(as_json(one) for one in shown)
                    continue
                for line in chain.from_iterable(map(lines, shown)):
                    screen.line(line)
    finally:  # also after Ctrl-C: what was seen so far
        _summarise(run, None, json=json)
        run.parts.people.close()


def _apply(run: _Run, wanted: Selection, *, again: bool, json: bool) -> None:
    applied = Applied()

    async def work() -> None:
        # The store is opened to read after it is to write: opening it to write looks into the
        # file, and closing a file lets go of all locks that the process has on it.
        async with control.executor(run.parts) as carry:
            with (
                open_replay_reader(run.parts.config.store_path) as chronicle,
                closing(run.chunks(chronicle, wanted)) as chunks,
            ):
                for judged in chunks:
                    todo = [(one.seq, one.digest) for one in judged if one.applies(again=again)]
                    for start in range(0, len(todo), _BATCH):
                        some = commands.Replay(events=todo[start : start + _BATCH], again=again)
                        _count(applied, await carry(some))
                    await asyncio.sleep(0)  # where nothing was to be done: for Ctrl-C

    try:
        asyncio.run(work())
    finally:
        _summarise(run, applied, json=json)
    if applied.failures:
        raise Failed(f"{applied.failures} events were left as they are")


def _count(applied: Applied, outcome: commands.Outcome) -> None:
    applied.events += outcome.changed
    applied.replies += outcome.counts.get("replies", 0)
    applied.actions += outcome.counts.get("actions", 0)
    applied.handlers += outcome.counts.get("handlers", 0)
    say(outcome.failures[: max(0, _MOST_FAILURES - applied.failures)])
    applied.failures += len(outcome.failures)


def _summarise(run: _Run, applied: Applied | None, *, json: bool) -> None:
    if not json:
        for line in summary_lines(run.tally, applied, finished=run.finished):
            screen.line(line)
        return
    summary: dict[str, Any] = {"finished": run.finished, **msgspec.to_builtins(run.tally)}
    if applied is not None:
        summary["applied"] = applied
    screen.json_lines([{"summary": summary}])

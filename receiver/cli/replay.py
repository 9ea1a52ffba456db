"""`receiver replay`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import output
from receiver.cli.exit_status import print_errors
from receiver.cli.options import ConfigFile, Json, Limit, Msisdn, Source, Type, optional_person
from receiver.cli.parts import prepare
from receiver.cli.times import Since, Tz, Until, period
from receiver.errors import Failed
from receiver.logs import setup
from receiver.service import control
from receiver.service.parts import Parts
from receiver.service.replay import Applied, ReplayRun, apply, find_event
from receiver.service.replay_compare import EventComparison
from receiver.store.replay_reads import ReplayReader, Selection, open_replay_reader
from receiver.views.replay import comparison_json, comparison_lines, summary_lines
from receiver.views.times import time_title

#: Failures that are shown, so that a long run does not fill the screen.
_MOST_FAILURES = 20


def command(
    *,
    since: Since = None,
    until: Until = None,
    type_: Type = None,
    source: Source = None,
    msisdn: Msisdn = None,
    id_: Annotated[str | None, typer.Option("--id", metavar="ID", help="Only this event.")] = None,
    limit: Limit = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show also the events without a difference.")
    ] = False,
    apply_: Annotated[
        bool, typer.Option("--apply", help="Do what the handlers ask for now and was never done.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="With --apply: repeat also what was done already.")
    ] = False,
    all_events: Annotated[
        bool, typer.Option("--all-events", help="With --apply: work on every stored event.")
    ] = False,
    json: Json = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Runs stored events through today's rules, and shows what would differ.

    Changes nothing without --apply. --apply sends messages, so it wants one of --since, --type,
    --source, --msisdn and --id, or --all-events.
    """
    if again and not apply_:
        raise typer.BadParameter("--again needs --apply")
    chosen = any(value is not None for value in (since, type_, source, msisdn, id_))
    if apply_ and not chosen and not all_events:
        expected = "--since, --id, --type, --source or --msisdn with it, or --all-events"
        raise typer.BadParameter(f"--apply sends messages: expected {expected}")
    start, end = period(since, until)
    parts = prepare(config)
    setup.configure(level=logging.CRITICAL)  # the errors of handlers are in what is shown
    wanted = Selection(
        id_=id_,
        type_=type_ and str(type_),
        source=source,
        msisdn=optional_person(msisdn, parts.config),
        since=start,
        until=end,
        limit=limit,
    )
    with open_replay_reader(parts.config.store_address) as reader:
        if id_ is not None:
            wanted = msgspec.structs.replace(wanted, id_=find_event(reader, id_))
        run = ReplayRun(parts, wanted)
        if not apply_:
            _show(run, reader, every=every, json=json)
    if apply_:
        _apply(run, parts, again=again, json=json)


def _show(run: ReplayRun, reader: ReplayReader, *, every: bool, json: bool) -> None:
    if not json:
        output.line(f"{'ID':<18}  {time_title('RECEIVED'):<19}  {'PERSON':<13}  THEN → NOW")
    try:
        with _chunks(run, reader) as chunks:
            for compared in chunks:
                shown = [one for one in compared if every or one.differs or one.failing]
                if json:
                    output.json_lines(map(comparison_json, shown))
                    continue
                for line in chain.from_iterable(map(comparison_lines, shown)):
                    output.line(line)
    finally:  # also after Ctrl-C: what was seen so far
        _summarise(run, None, json=json)
        run.close()


@contextmanager
def _chunks(run: ReplayRun, reader: ReplayReader) -> Iterator[Iterator[list[EventComparison]]]:
    """Lends the comparisons of a run, with a bar that shows how far it is."""
    first, last = reader.bounds(run.wanted)
    with (
        output.progress(first, last + 1) as progress,
        closing(run.chunks(reader, progress)) as chunks,
    ):
        yield chunks


def _apply(run: ReplayRun, parts: Parts, *, again: bool, json: bool) -> None:
    applied = Applied()

    async def work() -> None:
        # The store is opened to write first: opening it to write looks into the file, and closing
        # a file ends all locks that the process has on it.
        async with control.executor(parts) as carry:
            with (
                open_replay_reader(parts.config.store_address) as reader,
                _chunks(run, reader) as chunks,
            ):
                for compared in chunks:
                    async for outcome in apply(carry, compared, again=again):
                        print_errors(outcome.failures[: max(0, _MOST_FAILURES - applied.failures)])
                        applied.add(outcome)
                    await asyncio.sleep(0)  # so that Ctrl-C ends a run with nothing to do

    try:
        asyncio.run(work())
    finally:
        _summarise(run, applied, json=json)
    if applied.failures:
        raise Failed(f"{applied.failures} events were left as they are")


def _summarise(run: ReplayRun, applied: Applied | None, *, json: bool) -> None:
    if not json:
        for line in summary_lines(run.totals, applied, finished=run.finished):
            output.line(line)
        return
    summary: dict[str, Any] = {"finished": run.finished, **msgspec.to_builtins(run.totals)}
    if applied is not None:
        summary["applied"] = applied
    output.json_lines([{"summary": summary}])

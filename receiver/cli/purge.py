"""`receiver purge`."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated

import typer

from receiver.cli import screen
from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, Json, load
from receiver.cli.preparing import prepare
from receiver.config import YOUNGEST
from receiver.events import EventType, utc_now
from receiver.service import control
from receiver.service.commands import PurgeStep
from receiver.service.parts import Parts
from receiver.store import PurgeKind, PurgeRule, open_reader
from receiver.text.times import length

#: In their order: what was sent goes once the event that it answers is gone. Without keys, which
#: are what tells repeats.
_USUAL = (PurgeKind.REQUESTS, PurgeKind.EVENTS, PurgeKind.MESSAGES, PurgeKind.QUARANTINE)
_OF_EVENTS = (PurgeKind.REQUESTS, PurgeKind.EVENTS, PurgeKind.KEYS)
_BOUND = (PurgeKind.EVENTS, PurgeKind.MESSAGES, PurgeKind.KEYS)


def command(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="180d, 26w, 12h.", show_default=False)
    ],
    kinds: Annotated[
        list[PurgeKind] | None,
        typer.Option("--kind", help="Only this; may be given again. All but keys without it."),
    ] = None,
    type_: Annotated[
        EventType | None, typer.Option("--type", help="Only events of this type.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only events of this source.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only counts what is old enough.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Lets go of data by its age, in small steps, also while the service runs.

    What is left of an event is the provider's id and digests, so that a repeat is known as one.
    """
    chosen = _kinds(kinds, narrowed=type_ is not None or source is not None)
    before = _before(older_than, chosen)
    sweeps = [
        PurgeRule(
            kind=kind,
            before=before,
            type_=str(type_) if type_ and kind in _OF_EVENTS else None,
            source=source if kind in _OF_EVENTS else None,
        )
        for kind in chosen
    ]
    if dry_run:
        counts = asyncio.run(_count(config, sweeps))
    else:
        counts = asyncio.run(_purge(prepare(config), sweeps))
    _report(counts, before, dry_run=dry_run, json=json)


def _kinds(kinds: list[PurgeKind] | None, *, narrowed: bool) -> list[PurgeKind]:
    """What to let go of, in the order in which it goes."""
    wanted = set(kinds or (_OF_EVENTS[:2] if narrowed else _USUAL))
    if narrowed and (others := wanted.difference(_OF_EVENTS)):
        names = ", ".join(sorted(others))
        raise typer.BadParameter(f"--type and --source are of events, not of {names}")
    return [kind for kind in PurgeKind if kind in wanted]


def _before(older_than: str, kinds: list[PurgeKind]) -> datetime:
    age = length(older_than)
    if age is None or age <= timedelta(0):
        expected = "an age such as 180d, 26w or 12h"
        raise typer.BadParameter(f"--older-than: expected {expected}, got {older_than!r}")
    if age < YOUNGEST and (bound := [kind for kind in kinds if kind in _BOUND]):
        names = ", ".join(bound)
        expected = f"at least {YOUNGEST.days}d for {names}: a push may come again for so long"
        raise typer.BadParameter(f"--older-than: expected {expected}, got {older_than!r}")
    return utc_now() - age


async def _purge(parts: Parts, sweeps: list[PurgeRule]) -> Counter[str]:
    total: Counter[str] = Counter()
    async with control.executor(parts) as carry:
        for rule in sweeps:
            outcome = await carry(PurgeStep(rule=rule))
            while outcome.position is not None and not outcome.failures:
                step = PurgeStep(rule=rule, after=outcome.position, gone=outcome.counts)
                outcome = await carry(step)
            total += Counter(outcome.counts)
            if outcome.failures:
                raise Failed(*outcome.failures)
    return total


async def _count(config: ConfigFile, sweeps: list[PurgeRule]) -> Counter[str]:
    total: Counter[str] = Counter()
    async with open_reader(load(config).store_path) as reader:
        for rule in sweeps:
            position: int | None = 0
            while position is not None:
                batch = await reader.purges.batch(rule, position)
                total[rule.kind] += len(batch.ids)
                position = batch.position
    return total


def _report(counts: Counter[str], before: datetime, *, dry_run: bool, json: bool) -> None:
    if json:
        screen.json_lines([{"before": before, "dry_run": dry_run, "counts": +counts}])
        return
    done = "would go" if dry_run else "are gone"
    found = ", ".join(f"{count:,} {what}" for what, count in (+counts).items())
    screen.line(f"{found} {done}" if found else "nothing is that old")

"""`receiver purge`."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, Json, Type, load
from receiver.cli.parts import prepare
from receiver.events import utc_now
from receiver.service import control, purge
from receiver.store import PurgeKind, PurgeRule, open_reader


def command(
    *,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Delete what is older: 180d, 26w, 12h.",
            show_default=False,
        ),
    ],
    kinds: Annotated[
        list[PurgeKind] | None,
        typer.Option(
            "--kind", help="Only this kind; may be given several times. Default: all but keys."
        ),
    ] = None,
    type_: Type = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only events of this source.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what is old enough, and delete nothing.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Deletes data by its age, in small steps; the service may run.

    Of a deleted event the provider's id and digests stay, so that a repeat of the push is still
    found; `--kind keys` deletes these too.
    """
    rules = purge.rules(older_than, utc_now(), kinds, type_, source)
    counts = asyncio.run(_count(config, rules) if dry_run else _purge(config, rules))
    if json:
        report = {"before": rules[0].before, "dry_run": dry_run, "counts": +counts}
        output.json_lines([report])
        return
    done = "would be deleted" if dry_run else "deleted"
    found = ", ".join(f"{count:,} {kind}" for kind, count in (+counts).items())
    output.line(f"{found} {done}" if found else "nothing is that old")


async def _purge(config: ConfigFile, rules: list[PurgeRule]) -> Counter[str]:
    async with control.executor(prepare(config)) as carry:
        return await purge.purge(carry, rules)


async def _count(config: ConfigFile, rules: list[PurgeRule]) -> Counter[str]:
    async with open_reader(load(config).store_address) as reader:
        return await purge.count(reader, rules)

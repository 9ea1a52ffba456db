"""`receiver subscribers reconcile`."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.exit_status import option_error
from receiver.cli.options import ConfigFile, Json, load, optional_number
from receiver.cli.times import Tz, parse_time
from receiver.config import StoreAddress
from receiver.errors import Failed, InvalidInput
from receiver.events import utc_now
from receiver.service import reconcile
from receiver.service.numbers import regions
from receiver.service.reconcile import KINDS, Comparison, Scope
from receiver.store import Correction, open_reader


def command(
    file: Annotated[
        Path, typer.Argument(help="The provider's list: CSV, one number a line, or JSON Lines.")
    ],
    *,
    service: Annotated[
        str | None, typer.Option(metavar="ID", help="Compare only this service.")
    ] = None,
    short_code: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Compare only this short code.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Compare only this source, and read numbers in its region."
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="When the list was made; later changes of the book stay. Default: now.",
        ),
    ] = None,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Correct the book: afterwards it says what the list says."),
    ] = False,
    json: Json = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Compares the subscription book with a provider's list of subscribers.

    Changes nothing without --apply. The exit status is 1 if they differ or the list has invalid
    lines. With --apply nothing is written while the list has invalid lines.
    """
    settings = load(config)
    then = utc_now() if as_of is None else parse_time(as_of)
    address = optional_number(short_code, settings, source)
    scope = Scope(source=source, short_code=address, service_id=service)
    where = set(regions(settings, source).values())
    try:
        compared = asyncio.run(_compare(settings.store_address, file, where, scope, then))
        _show(compared, json=json)
        if apply and not compared.invalid:
            wanted = reconcile.corrections(compared, scope, list(settings.sources))
            written = _write(wanted, then, config)
            if json:
                output.json_lines([{"written": written}])
            else:
                print(f"{written} lines written into the book")
            return
    except InvalidInput as error:
        raise Failed(option_error(error)) from None
    if compared.invalid and apply:
        raise Failed("nothing was written: correct the invalid lines of the list, or remove them")
    if compared.differences or compared.invalid:
        raise typer.Exit(1)


async def _compare(
    store: StoreAddress, file: Path, where: set[str], scope: Scope, then: datetime
) -> Comparison:
    rows = reconcile.read_file(file, where)
    async with open_reader(store) as reader:
        return await reconcile.compare(reader, rows, scope, then)


def _write(wanted: list[Correction], then: datetime, config: Path | None) -> int:
    """Writes corrections, through the running service if there is one; how many."""
    # Comparing does not need the plugins and providers, which take a while to load.
    from receiver.cli.parts import prepare
    from receiver.service import control

    async def write() -> int:
        async with control.executor(parts) as carry:
            return await reconcile.write(carry, wanted, then)

    parts = prepare(config)
    return asyncio.run(write())


def _show(compared: Comparison, *, json: bool) -> None:
    if json:
        output.json_lines([*compared.differences, *compared.invalid])
        return
    differences = compared.differences
    rows = [(d.msisdn, d.service_id, d.here or "-", d.there or "-") for d in differences]
    output.table(("MSISDN", "SERVICE", "HERE", "THERE"), rows, if_empty="no differences")
    for invalid in compared.invalid:
        output.line(f"line {invalid.line}: {invalid.why}")
    kinds = Counter(difference.kind for difference in differences)
    summary = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS)
    print(f"{compared.listed} listed: {summary}, {len(compared.invalid)} invalid lines")

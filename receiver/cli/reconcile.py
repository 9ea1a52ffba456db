"""`receiver subscribers reconcile`: the subscription book beside the provider's own list."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, Json, load, moment, normalised, regions
from receiver.cli.provider_list import HeadError, Invalid, Listed, read
from receiver.events import utc_now
from receiver.store import Correction, Subscription, open_reader
from receiver.text.msisdn import readings

#: Corrections of a command to the running service, which reads 64 KiB.
_BATCH = 100

State = Literal["active", "inactive"]
Key = tuple[str, str | None]
"""A person and a service; None for the service where the list names none."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A person whom the book and the list do not agree about; None: not known there."""

    msisdn: str
    service_id: str | None
    here: State | None
    there: State | None


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the book is compared."""

    source: str | None
    short_code: str | None
    service_id: str | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What came of comparing."""

    differences: list[Difference]
    invalid: list[Invalid]
    listed: int
    """People that the list has."""
    book: dict[Key, list[Subscription]]


def command(
    file: Annotated[Path, typer.Argument(help="CSV, one number a line, or JSON Lines.")],
    *,
    service: Annotated[str | None, typer.Option(help="Only this service.")] = None,
    short_code: Annotated[str | None, typer.Option(help="Only on this short code.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Only of this source, whose numbers the list has.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="When the list was made; default: now."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Writes what the list says into the book.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Compares the book with the provider's list; exit status 1 if they differ."""
    settings = load(config)
    now = utc_now()
    then = now if as_of is None else moment(as_of, now)
    address = normalised(short_code, settings, source)
    scope = Scope(source=source, short_code=address, service_id=service)
    where = set(regions(settings, source).values())
    rows = _rows(file, where)
    compared = asyncio.run(_compare(settings.store_path, rows, scope, then))
    if json:
        screen.json_lines([*compared.differences, *compared.invalid])
    else:
        _show(compared)
    if apply and not compared.invalid:
        corrections = list(_corrections(compared, scope, list(settings.sources)))
        written = _apply(corrections, then, config)
        if json:
            screen.json_lines([{"written": written}])
        else:
            print(f"{written} lines written into the book")
    elif compared.invalid and apply:
        raise Failed("nothing was written: mend the invalid lines first, or take them out")
    elif compared.differences or compared.invalid:
        raise typer.Exit(1)


def _rows(file: Path, where: Collection[str]) -> list[Listed | Invalid]:
    # What is no UTF-8 becomes a line that is invalid.
    with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        try:
            return list(read(lines, partial(_number, where)))
        except HeadError as error:
            raise Failed(f"{file}: {error}") from None


def _number(where: Collection[str], text: str) -> str:
    """In E.164, where these regions do not differ about it."""
    forms = readings(text, where)
    return text if len(forms) > 1 else next(iter(forms))


async def _compare(
    store: Path, rows: Iterable[Listed | Invalid], scope: Scope, then: datetime
) -> Comparison:
    """The part of the book as it stood, against the list."""
    there, invalid, names_services = _listed(rows, scope)
    book: dict[Key, list[Subscription]] = {}
    services = set()
    async with open_reader(store) as reader:
        found = reader.subscriptions.find(
            source=scope.source,
            short_code=scope.short_code,
            service_id=scope.service_id,
            as_of=then,
        )
        async for line in found:
            services.add(line.service_id)
            key = (line.msisdn, line.service_id if names_services else None)
            book.setdefault(key, []).append(line)
    if not names_services and len(services) > 1:
        known = ", ".join(sorted(each or "none" for each in services))
        raise Failed(f"expected --service, since the list names none; the book has {known}")
    return Comparison(
        differences=list(_differences(book, there)),
        invalid=invalid,
        listed=len(there),
        book=book,
    )


def _listed(
    rows: Iterable[Listed | Invalid], scope: Scope
) -> tuple[dict[Key, Listed], list[Invalid], bool]:
    """The list by key, its invalid lines, and whether it tells services apart."""
    valid, invalid = [], []
    for row in rows:
        if isinstance(row, Invalid):
            invalid.append(row)
        elif scope.service_id is None or row.service_id in (None, scope.service_id):
            valid.append(row)
    names_services = scope.service_id is None and any(row.service_id for row in valid)
    there: dict[Key, Listed] = {}
    for row in valid:
        key = (row.msisdn, (row.service_id or "") if names_services else None)
        earlier = there.setdefault(key, row)
        if earlier.active is not row.active:
            why = f"{row.msisdn} has another state on line {earlier.line}"
            invalid.append(Invalid(line=row.line, why=why))
    return there, sorted(invalid, key=lambda each: each.line), names_services


def _differences(
    book: dict[Key, list[Subscription]], there: dict[Key, Listed]
) -> Iterator[Difference]:
    """By number. Who is inactive on one side and not known on the other is the same on both."""
    for key in sorted(book.keys() | there.keys(), key=lambda key: (key[0], key[1] or "")):
        lines, listed = book.get(key), there.get(key)
        here = lines is not None and any(line.state == "active" for line in lines)
        if here is (listed is not None and listed.active):
            continue
        yield Difference(
            msisdn=key[0],
            service_id=key[1],
            here=_state(here) if lines else None,
            there=_state(listed.active) if listed else None,
        )


def _state(active: bool) -> State:  # noqa: FBT001 - the state itself
    return "active" if active else "inactive"


def _show(compared: Comparison) -> None:
    differences = compared.differences
    rows = [(d.msisdn, d.service_id, d.here or "-", d.there or "-") for d in differences]
    screen.table(("MSISDN", "SERVICE", "HERE", "THERE"), rows, nothing="no differences")
    for invalid in compared.invalid:
        screen.line(f"line {invalid.line}: {invalid.why}")
    kinds = Counter(_kind(difference) for difference in differences)
    summary = ", ".join(f"{kinds[kind]} {kind}" for kind in _KINDS)
    print(f"{compared.listed} listed: {summary}, {len(compared.invalid)} invalid lines")


_KINDS = ("active here only", "active there only", "in different states")


def _kind(difference: Difference) -> str:
    if difference.there is None:
        return _KINDS[0]
    return _KINDS[1] if difference.here is None else _KINDS[2]


def _apply(corrections: list[Correction], then: datetime, config: Path | None) -> int:
    """Writes corrections, through the running service if there is one; how many."""
    from receiver.cli.preparing import perform, prepare
    from receiver.service.commands import CorrectBook

    parts = prepare(config)
    written = 0
    for start in range(0, len(corrections), _BATCH):
        batch = corrections[start : start + _BATCH]
        outcome = perform(parts, CorrectBook(corrections=batch, time=then))
        if outcome.failures:
            raise Failed(*outcome.failures, f"{written} of {len(corrections)} lines were written")
        written += outcome.changed
    return written


def _corrections(compared: Comparison, scope: Scope, sources: list[str]) -> Iterator[Correction]:
    """What makes the book say what the list says. Raises `Failed` where that is not plain."""
    if not compared.listed:
        raise Failed("nothing was written: the list is empty, which would end every subscription")
    every = [line for lines in compared.book.values() for line in lines]
    for difference in compared.differences:
        lines = compared.book.get((difference.msisdn, difference.service_id), [])
        if difference.there != "active":
            for line in lines:
                if line.state == "active":
                    yield _correction(line, active=False)
        elif len(lines) == 1:
            yield _correction(lines[0], active=True)
        else:
            alike = [line for line in every if difference.service_id in (None, line.service_id)]
            codes = {line.short_code for line in alike}
            services = {line.service_id for line in alike}
            yield Correction(
                msisdn=difference.msisdn,
                source=_only("--source", scope.source, sources),
                short_code=_only("--short-code", scope.short_code, codes),
                service_id=_only("--service", difference.service_id or scope.service_id, services),
                active=True,
            )


def _correction(line: Subscription, *, active: bool) -> Correction:
    return Correction(
        msisdn=line.msisdn,
        source=line.source,
        short_code=line.short_code,
        service_id=line.service_id,
        active=active,
    )


def _only(option: str, given: str | None, known: Iterable[str]) -> str:
    """What was given, or else the only one there is."""
    if given is not None:
        return given
    several = sorted(set(known))
    if len(several) != 1:
        found = ", ".join(several) or "none"
        raise Failed(f"expected {option}, to know where new subscribers belong; known: {found}")
    return several[0]

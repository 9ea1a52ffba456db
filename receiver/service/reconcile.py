"""Compares the subscription book with a provider's own list, and corrects the book."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from receiver.errors import Failed, InvalidInput
from receiver.service.commands import Command, CorrectBook, Outcome
from receiver.service.subscriber_list import (
    HeaderError,
    InvalidLine,
    ListedSubscriber,
    read_list,
)
from receiver.store import Correction, Reader, Subscription
from receiver.text.msisdn import readings

#: Corrections of one command: the control socket takes 64 KiB.
_BATCH = 100

State = Literal["active", "inactive"]
Key = tuple[str, str | None]
"""A person and a service; the service is None where the list has no services."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A person whose state differs between the book and the list; None: not known there."""

    msisdn: str
    service_id: str | None
    here: State | None
    there: State | None

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        if self.there is None:
            return KINDS[0]
        return KINDS[1] if self.here is None else KINDS[2]


KINDS = ("active here only", "active there only", "in different states")


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the book that is compared; None: all."""

    source: str | None = None
    short_code: str | None = None
    service_id: str | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The result of comparing the book with a list."""

    differences: list[Difference]
    invalid: list[InvalidLine]
    listed: int
    """People on the list."""
    book: dict[Key, list[Subscription]]


def read_file(file: Path, regions: Collection[str]) -> list[ListedSubscriber | InvalidLine]:
    """Returns the lines of a list. Raises `Failed` if no column has numbers.

    A number is read in the `regions` where these do not differ about it.
    """

    def normalise(text: str) -> str:
        forms = readings(text, regions)
        return text if len(forms) > 1 else next(iter(forms))

    # Bytes that are not UTF-8 make a line invalid.
    with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        try:
            return list(read_list(lines, normalise))
        except HeaderError as error:
            raise Failed(f"{file}: {error}") from None


async def compare(
    reader: Reader,
    rows: Iterable[ListedSubscriber | InvalidLine],
    scope: Scope,
    as_of: datetime,
) -> Comparison:
    """Compares the book as it stood at `as_of` with a list.

    Raises `InvalidInput` if the list has no services and the book has several.
    """
    listed, invalid, names_services = _by_key(rows, scope)
    book: dict[Key, list[Subscription]] = {}
    services = set()
    found = reader.subscriptions.find(
        source=scope.source,
        short_code=scope.short_code,
        service_id=scope.service_id,
        as_of=as_of,
    )
    async for line in found:
        services.add(line.service_id)
        key = (line.msisdn, line.service_id if names_services else None)
        book.setdefault(key, []).append(line)
    if not names_services and len(services) > 1:
        known = ", ".join(sorted(each or "none" for each in services))
        raise InvalidInput(
            f"needed, since the list names no services; the book has {known}", "service"
        )
    return Comparison(
        differences=list(_differences(book, listed)),
        invalid=invalid,
        listed=len(listed),
        book=book,
    )


def _by_key(
    rows: Iterable[ListedSubscriber | InvalidLine], scope: Scope
) -> tuple[dict[Key, ListedSubscriber], list[InvalidLine], bool]:
    """Returns the list by key, its invalid lines, and whether it names services."""
    valid, invalid = [], []
    for row in rows:
        if isinstance(row, InvalidLine):
            invalid.append(row)
        elif scope.service_id is None or row.service_id in (None, scope.service_id):
            valid.append(row)
    names_services = scope.service_id is None and any(row.service_id for row in valid)
    listed: dict[Key, ListedSubscriber] = {}
    for row in valid:
        key = (row.msisdn, (row.service_id or "") if names_services else None)
        earlier = listed.setdefault(key, row)
        if earlier.active is not row.active:
            why = f"{row.msisdn} has another state on line {earlier.line}"
            invalid.append(InvalidLine(line=row.line, why=why))
    return listed, sorted(invalid, key=lambda each: each.line), names_services


def _differences(
    book: dict[Key, list[Subscription]], listed: dict[Key, ListedSubscriber]
) -> Iterator[Difference]:
    """Yields differences by number. Inactive on one side and unknown on the other is the same."""
    for key in sorted(book.keys() | listed.keys(), key=lambda key: (key[0], key[1] or "")):
        lines, row = book.get(key), listed.get(key)
        here = lines is not None and any(line.state == "active" for line in lines)
        if here is (row is not None and row.active):
            continue
        yield Difference(
            msisdn=key[0],
            service_id=key[1],
            here=_state(here) if lines else None,
            there=_state(row.active) if row else None,
        )


def _state(active: bool) -> State:  # noqa: FBT001 - the state itself
    return "active" if active else "inactive"


def corrections(compared: Comparison, scope: Scope, sources: list[str]) -> list[Correction]:
    """Returns what makes the book equal to the list.

    `sources`: all that are configured. Raises `InvalidInput` where it is not clear which line of
    the book a new subscriber is, and `Failed` for an empty list.
    """
    if not compared.listed:
        raise Failed("nothing was written: the list is empty, which would end every subscription")
    return list(_corrections(compared, scope, sources))


def _corrections(compared: Comparison, scope: Scope, sources: list[str]) -> Iterator[Correction]:
    every = [line for lines in compared.book.values() for line in lines]
    for difference in compared.differences:
        lines = compared.book.get((difference.msisdn, difference.service_id), [])
        if difference.there != "active":
            yield from (_correction(line, active=False) for line in lines if line.state == "active")
        elif len(lines) == 1:
            yield _correction(lines[0], active=True)
        else:
            alike = [line for line in every if difference.service_id in (None, line.service_id)]
            codes = {line.short_code for line in alike}
            services = {line.service_id for line in alike}
            yield Correction(
                msisdn=difference.msisdn,
                source=_only("source", scope.source, sources),
                short_code=_only("short_code", scope.short_code, codes),
                service_id=_only("service", difference.service_id or scope.service_id, services),
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


def _only(field: str, given: str | None, known: Iterable[str]) -> str:
    """Returns what was given, or else the only value that is known."""
    if given is not None:
        return given
    several = sorted(set(known))
    if len(several) != 1:
        found = ", ".join(several) or "none"
        raise InvalidInput(
            f"needed to know where new subscribers belong; the book has {found}", field
        )
    return several[0]


async def write(
    carry: Callable[[Command], Awaitable[Outcome]],
    wanted: list[Correction],
    as_of: datetime,
) -> int:
    """Writes corrections into the book, and returns how many lines changed.

    `carry`: from `control.executor`. Raises `Failed` with what was not written.
    """
    written = 0
    for start in range(0, len(wanted), _BATCH):
        batch = wanted[start : start + _BATCH]
        outcome = await carry(CorrectBook(corrections=batch, time=as_of))
        if outcome.failures:
            counted = f"{written} of {len(wanted)} lines were written"
            raise Failed(*outcome.failures, counted)
        written += outcome.changed
    return written

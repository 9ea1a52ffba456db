"""`receiver send` to many, or later: makes a campaign."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import chain
from pathlib import Path

import msgspec
import typer

from receiver.cli import output
from receiver.cli.campaigns import follow, show
from receiver.cli.exit_status import print_errors
from receiver.cli.options import confirm
from receiver.errors import Failed
from receiver.events import utc_now
from receiver.outgoing import Schedule, Within
from receiver.providers.contract import Api
from receiver.service import control, mailing
from receiver.service.commands import AddPeople, ChangeCampaign, DraftCampaign, Outcome
from receiver.service.mailing import Mailing, Render
from receiver.service.numbers import parse_number
from receiver.service.parts import Parts
from receiver.service.recipients import Recipient, given, in_file, subscribers
from receiver.service.send import characters_named
from receiver.store import open_reader
from receiver.store.campaigns import Person
from receiver.store.engine import engine_of
from receiver.text.times import length, parse_moment
from receiver.views.times import full_time

#: People above whom a person is asked before anything leaves.
_ASKED_ABOVE = 100
#: Lines of faults, and numbers of people who are left out, that are shown.
_SHOWN = 50
#: People, and bytes of their numbers and texts, in one command: the socket takes lines of 64 KiB.
_PEOPLE, _BYTES = 200, 32 * 1024
_WITHIN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a campaign."""

    to: list[str]
    to_file: Path | None
    subscribers_of: str | None
    short_code: str | None
    text: str | None
    template: str | None
    sender: str | None
    service_id: str | None
    at: str | None
    within: str | None
    valid_for: str | None
    rate: int | None
    dry_run: bool
    yes: bool
    wait: bool
    timeout: float
    json: bool

    @property
    def is_campaign(self) -> bool:
        """True unless it is one message to one person, as soon as possible."""
        lists = self.to_file, self.subscribers_of, self.template
        limits = self.at, self.within, self.valid_for, self.rate
        return len(self.to) != 1 or any((*lists, *limits, self.dry_run))


def send_many(parts: Parts, source: str, api: Api, wish: Wish) -> None:
    """Makes a campaign and starts it, after a look at all of its messages."""
    now, zone = utc_now(), api.provider.timezone
    schedule = schedule_of(wish, now, api)
    found = list(_recipients(parts, source, wish))
    if not found:
        raise Failed("expected people to send to, got none")
    render: Render
    if wish.template is not None:
        columns = {name for recipient in found for name in recipient.fields}
        render = mailing.template(wish.template, columns, now, zone)
    else:
        render = mailing.constant(wish.text or "")
    sender = parse_number(wish.sender, parts.config, source) if wish.sender else None
    made = mailing.compose_many(
        parts.config,
        source,
        api,
        found,
        render,
        parts.people,
        sender=sender,
        service_id=wish.service_id,
    )
    if made.faults:
        more = len(made.faults) - _SHOWN
        rest = [f"and {more} more"] if more > 0 else []
        raise Failed(*made.faults[:_SHOWN], *rest, "nothing was sent; mend these lines first")
    _describe(parts, source, made, schedule, wish)
    if wish.dry_run:
        return
    people = len(made.people)
    if people > _ASKED_ABOVE and not wish.yes:
        confirm(f"Send to {people:,} people?", f"it goes to {people:,} people")
    id_ = asyncio.run(_store(parts, source, schedule, made.people, sender, wish.service_id))
    store = parts.config.store_address
    if wish.wait:
        asyncio.run(follow(store, id_, wish.timeout, json=wish.json))
    elif wish.json:
        asyncio.run(show(store, id_, json=True))
    else:
        output.line(str(id_))


def schedule_of(wish: Wish, now: datetime, api: Api) -> Schedule:
    """Returns when the messages may leave. Times without a zone are the source's."""
    start = now
    if wish.at is not None:
        later = length(wish.at)
        zone = api.provider.timezone
        moment = now + later if later is not None else parse_moment(wish.at, now, zone)
        if moment is None or moment < now:
            expected = "a time to come such as 2026-12-01T09:00, or a length such as 2h"
            raise typer.BadParameter(f"--at: expected {expected}; got {wish.at!r}")
        start = moment
    valid = length(wish.valid_for) if wish.valid_for is not None else None
    if wish.valid_for is not None and not valid:
        raise typer.BadParameter(
            f"--valid-for: expected a length such as 6h or 2d; got {wish.valid_for!r}"
        )
    try:
        return Schedule(
            start_at=start,
            within=_within(wish.within) if wish.within is not None else None,
            valid_for=round(valid.total_seconds()) if valid else None,
            rate=wish.rate,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _within(text: str) -> Within:
    if match := _WITHIN.fullmatch(text.strip()):
        hour, minute, last_hour, last_minute = map(int, match.groups())
        opens, closes = hour * 60 + minute, last_hour * 60 + last_minute
        if opens != closes and closes <= 24 * 60:
            return Within(opens, closes)
    raise typer.BadParameter(f"--within: expected times such as 08:00-20:00; got {text!r}")


def _recipients(parts: Parts, source: str, wish: Wish) -> Iterator[Recipient]:
    """Returns everybody who is named, whichever way."""
    named = chain(given(wish.to), in_file(wish.to_file) if wish.to_file is not None else ())
    if wish.subscribers_of is None:
        return named
    code = parse_number(wish.short_code, parts.config, source) if wish.short_code else None

    async def look() -> list[Recipient]:
        async with open_reader(parts.config.store_address) as reader:
            service = wish.subscribers_of or ""
            return await subscribers(reader, source=source, service_id=service, short_code=code)

    return chain(named, asyncio.run(look()))


def _describe(parts: Parts, source: str, made: Mailing, schedule: Schedule, wish: Wish) -> None:
    """Says who gets what, what it may cost, and who is left out: on stderr, or as a dry run."""
    lines = [f"{len(made.people):,} people, {made.all_parts:,} SMS through {source}"]
    lines += [
        f"{count:,} messages take {parts} parts of {encoding}"
        for (encoding, parts), count in sorted(made.parts.items())
        if parts > 1
    ]
    if made.strange:
        named = characters_named(list(made.strange))
        lines.append(f"an SMS holds 70 characters, not 160, because of {named}")
    price = asyncio.run(_price(parts, source)) if wish.dry_run else None
    if price is not None:
        lines.append(f"about {price * made.all_parts:,.2f} at the price of the last messages")
    lines.append(f"from {full_time(schedule.start_at)} on")
    if made.repeated:
        lines.append(f"named more than once, and sent to once: {made.repeated:,}")
    if made.opted_out:
        some = ", ".join(made.opted_out[:_SHOWN])
        rest = " …" if len(made.opted_out) > _SHOWN else ""
        lines.append(f"left out, for they have opted out: {len(made.opted_out):,}: {some}{rest}")
    if not wish.dry_run:
        print_errors(lines)
    elif wish.json:
        output.json_lines(
            [
                {
                    "people": len(made.people),
                    "parts": made.all_parts,
                    "cost": None if price is None else str(price * made.all_parts),
                    "repeated": made.repeated,
                    "opted_out": made.opted_out,
                }
            ]
        )
    else:
        for line in lines:
            output.line(line)


async def _price(parts: Parts, source: str) -> Decimal | None:
    if not engine_of(parts.config.store_address).exists():
        return None
    async with open_reader(parts.config.store_address) as reader:
        return await mailing.price_of_part(reader, source)


async def _store(
    parts: Parts,
    source: str,
    schedule: Schedule,
    people: list[Person],
    sender: str | None,
    service_id: str | None,
) -> int:
    """Stores a campaign as a draft, then starts it; its id. Raises `Failed`."""
    async with control.executor(parts) as execute:
        drafted = _checked(await execute(DraftCampaign(source=source, schedule=schedule)))
        id_ = drafted.campaign
        assert id_ is not None
        with output.progress(0, len(people)) as advance:
            done = 0
            for some in _pieces(people):
                command = AddPeople(campaign=id_, people=some, sender=sender, service_id=service_id)
                _checked(await execute(command))
                done += len(some)
                advance(done, done)
        _checked(await execute(ChangeCampaign(campaign=id_, act="start")))
    return id_


def _checked(outcome: Outcome) -> Outcome:
    if outcome.failures:
        raise Failed(*outcome.failures)
    return outcome


def _pieces(people: list[Person]) -> Iterator[list[Person]]:
    """Yields people in so few that a command takes them."""
    some: list[Person] = []
    size = 0
    for person in people:
        own = len(msgspec.json.encode(person)) + 1
        if some and (len(some) >= _PEOPLE or size + own > _BYTES):
            yield some
            some, size = [], 0
        some.append(person)
        size += own
    if some:
        yield some

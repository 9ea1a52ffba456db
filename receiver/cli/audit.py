"""`receiver audit`."""

from __future__ import annotations

import asyncio

import msgspec

from receiver.cli.listing import Listing, form_of
from receiver.cli.options import ConfigFile, Csv, Json, Limit, load_leniently
from receiver.cli.times import Since, Tz, Until, period
from receiver.store import AuditEntry, open_reader
from receiver.views.fields import json_fields
from receiver.views.times import format_time, time_title


def command(
    *,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists who changed data with a command, and what retention deleted."""
    form = form_of(json=json, as_csv=as_csv)
    start, end = period(since, until)
    settings = load_leniently(config)
    listing = Listing[AuditEntry](
        titles=(time_title("TIME"), "WHO", "ACT", "DETAILS"),
        row=_row,
        fields=json_fields,
        names=AuditEntry.__struct_fields__,
        if_empty="no entries",
        most=1000,
    )

    async def look() -> None:
        async with open_reader(settings.store_path) as reader:
            asked = listing.asked(form, limit)
            found = reader.audit.every(since=start, until=end, limit=asked)
            await listing.show(found, form, limit)

    asyncio.run(look())


def _row(act: AuditEntry) -> tuple[str, ...]:
    return format_time(act.time), act.who, act.act, msgspec.json.encode(act.details).decode()

"""`receiver audit`."""

from __future__ import annotations

import asyncio

from receiver.cli.listing import asked, form_of, show
from receiver.cli.options import ConfigFile, Csv, Json, Limit, load_leniently
from receiver.cli.times import Since, Tz, Until, period
from receiver.store import open_reader
from receiver.views.lists import audit_listing


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
    listing = audit_listing()

    async def look() -> None:
        async with open_reader(settings.store_address) as reader:
            most = asked(listing, form, limit)
            found = reader.audit.every(since=start, until=end, limit=most)
            await show(listing, found, form, limit)

    asyncio.run(look())

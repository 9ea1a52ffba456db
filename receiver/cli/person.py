"""`receiver person`."""

from __future__ import annotations

import asyncio

from receiver.cli import output
from receiver.cli.exit_status import print_errors
from receiver.cli.options import (
    ConfigFile,
    Json,
    Limit,
    MsisdnArgument,
    load_leniently,
    optional_person,
)
from receiver.cli.times import Since, Tz, optional_time
from receiver.errors import Failed
from receiver.service.person import Timeline, is_known, timeline
from receiver.store import open_reader
from receiver.views.person import entry_json, entry_row
from receiver.views.redact import redact_entry, secrets_of
from receiver.views.times import time_title

_LIMIT = 100
#: SQLite takes no larger number.
_HIGHEST = 2**31


def command(
    msisdn: MsisdnArgument,
    *,
    since: Since = None,
    limit: Limit = None,
    json: Json = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Shows everything about a number in one timeline, the newest last.

    Events, answers, messages and their delivery reports, subscriptions, opt-outs, background work
    and commands; and the reason why something was not answered. The audit holds masked numbers: an
    entry of another number that looks the same when masked is shown too.
    """
    settings = load_leniently(config)
    person = optional_person(msisdn, settings)
    assert person is not None
    start = optional_time(since)
    most = min(limit, _HIGHEST) if limit else (None if json else _LIMIT)

    async def look() -> Timeline:
        async with open_reader(settings.store_address) as reader:
            found = await timeline(reader, person, since=start, limit=most)
            if not found.entries and not (start and await is_known(reader, person)):
                raise Failed(f"{person}: nothing is stored about this number")
            return found

    found, secrets = asyncio.run(look()), secrets_of(settings)
    entries = [redact_entry(entry, secrets) for entry in found.entries]
    # Few commands need the providers, which take a while to load.
    from receiver.providers import known

    providers = known(settings)
    if json:
        for entry in entries:
            output.json_line(entry_json(entry, providers))
        return
    titles = (time_title("TIME"), "ENTRY", "ID", "WHAT", "OUTCOME")
    rows = [entry_row(entry, providers) for entry in entries]
    output.table(titles, rows, if_empty="nothing since then")
    if found.more:
        print_errors([f"older entries are left out; -n shows more than {most}"])

"""`receiver messages`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import typer

from receiver.cli import output
from receiver.cli.listing import Form, asked, form_of, show
from receiver.cli.options import (
    ConfigFile,
    Csv,
    Json,
    Limit,
    Msisdn,
    Source,
    check_source,
    load_leniently,
    optional_person,
)
from receiver.cli.times import Since, Tz, Until, period
from receiver.errors import Failed
from receiver.events import Status
from receiver.store import Reader, open_reader
from receiver.views.lists import message_listing
from receiver.views.messages import message_details, message_json
from receiver.views.redact import redact_message, redact_report, secrets_of

#: SQLite takes no larger number; no id and no count is as high.
_HIGHEST = 2**62


_State = Literal["waiting", "sending", "sent", "unknown", "dead"]


def command(
    id_: Annotated[
        int | None,
        typer.Argument(metavar="ID", help="Show all about this message.", show_default=False),
    ] = None,
    *,
    status: Annotated[
        Status | None, typer.Option(help="Only this delivery status, which the provider reports.")
    ] = None,
    state: Annotated[
        _State | None,
        typer.Option(help="Only this state in our outbox: `unknown` may have been sent or not."),
    ] = None,
    source: Source = None,
    msisdn: Msisdn = None,
    campaign: Annotated[
        int | None,
        typer.Option(min=1, metavar="ID", help="Only this campaign's.", show_default=False),
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists the messages that we sent or will send, with their delivery status.

    The newest come first. --since and --until choose by the time at which a message was made.
    """
    form = form_of(json=json, as_csv=as_csv)
    if form is Form.CSV and id_ is not None:
        raise typer.BadParameter("--csv is for lists: it excludes an ID")
    start, end = period(since, until)
    settings = load_leniently(config)
    person = optional_person(msisdn, settings)
    secrets = secrets_of(settings)
    listing = message_listing(secrets)

    async def look() -> None:
        async with open_reader(settings.store_address) as reader:
            await check_source(reader, settings, source)
            if id_ is not None:
                await _show(reader, id_, secrets, json=json)
                return
            most = asked(listing, form, limit)
            found = reader.messages.every(
                status=status,
                state=state,
                source=source,
                msisdn=person,
                campaign=campaign,
                since=start,
                until=end,
                limit=None if most is None else min(most, _HIGHEST),
            )
            await show(listing, found, form, limit)

    asyncio.run(look())


async def _show(reader: Reader, id_: int, secrets: list[str], *, json: bool) -> None:
    found = await reader.messages.find(id_=min(id_, _HIGHEST))
    if not found:
        raise Failed(f"{id_}: no such message")
    message = redact_message(found[0], secrets)
    reports = [redact_report(report, secrets) for report in await reader.messages.reports(id_)]
    if json:
        output.json_lines([{**message_json(message), "reports": reports}])
        return
    dead = message.state == "dead"
    jobs = await reader.jobs(message=id_, state="dead") if dead else []
    output.details(message_details(message, reports, jobs))

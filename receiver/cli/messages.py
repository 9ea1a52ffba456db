"""`receiver messages`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Literal

import typer

from receiver.cli import output
from receiver.cli.listing import form_of, show_stored
from receiver.cli.options import (
    ConfigFile,
    Csv,
    Json,
    Limit,
    Msisdn,
    Source,
    load_leniently,
    optional_person,
)
from receiver.cli.times import Since, Tz, Until, period
from receiver.config import Config
from receiver.errors import Failed
from receiver.events import Status
from receiver.store import Reader, StoredMessage, open_reader
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
    form = form_of(json=json, as_csv=as_csv, one=id_)
    start, end = period(since, until)
    settings = load_leniently(config)
    if id_ is not None:
        asyncio.run(_show(settings, id_, json=json))
        return
    person = optional_person(msisdn, settings)

    def find(reader: Reader, most: int | None) -> AsyncGenerator[StoredMessage]:
        return reader.messages.every(
            status=status,
            state=state,
            source=source,
            msisdn=person,
            campaign=campaign,
            since=start,
            until=end,
            limit=None if most is None else min(most, _HIGHEST),
        )

    show_stored(settings, message_listing(secrets_of(settings)), find, form, limit, source)


async def _show(settings: Config, id_: int, *, json: bool) -> None:
    secrets = secrets_of(settings)
    async with open_reader(settings.store_address) as reader:
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

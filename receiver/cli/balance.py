"""`receiver balance`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, Json, load
from receiver.errors import Failed, ProviderError, StoreError
from receiver.providers import create
from receiver.providers.contract import Api
from receiver.service.balance import SourceBalance, balance
from receiver.service.provider_calls import error_text, sending_apis
from receiver.views.times import format_time


def command(
    *,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ask only the provider of this source.")
    ] = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Shows the credit that is left at each provider.

    Asks every provider whose API can tell it. For the others it shows the balance that the
    provider told with the newest sent message.
    """
    settings = load(config)
    found = sending_apis(settings, create(settings), source)

    async def look() -> list[SourceBalance | str]:
        looks = [_look(name, api, settings.store_path) for name, api in found.items()]
        return await asyncio.gather(*looks)

    results = asyncio.run(look())
    balances = [result for result in results if isinstance(result, SourceBalance)]
    if json:
        output.json_lines(balances)
    elif balances:
        titles = ("SOURCE", "PROVIDER", "CREDIT", "UNIT", "AS OF (UTC)", "NOTE")
        output.table(titles, [_row(each) for each in balances], if_empty="")
    if len(balances) < len(results):
        raise Failed(*(result for result in results if isinstance(result, str)))


async def _look(name: str, api: Api, store: Path) -> SourceBalance | str:
    """Returns the balance, or the error in a line."""
    try:
        return await balance(name, api, store)
    except ProviderError as error:
        return f"{name}: {error_text(api, error)}"
    except StoreError as error:
        return f"{name}: {error}"


def _row(found: SourceBalance) -> list[str | None]:
    note = None
    if found.message is not None:
        note = f"told with message {found.message}"
    elif found.amount is None:
        note = "the API cannot be asked, and no sent message has told it"
    time = format_time(found.time) if found.time else None
    return [found.source, found.provider, found.amount or "unknown", found.unit, time, note]

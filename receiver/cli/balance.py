"""`receiver balance`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated

import typer

from receiver.cli.listing import form_of, show
from receiver.cli.options import ConfigFile, Csv, Json, load
from receiver.cli.times import Tz
from receiver.config import StoreAddress
from receiver.errors import Failed, ProviderError, StoreError
from receiver.providers import create
from receiver.providers.contract import Api
from receiver.service.balance import SourceBalance, balance
from receiver.service.provider_calls import error_text, sending_apis
from receiver.views.listing import Listing, json_fields


def command(
    *,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ask only the provider of this source.")
    ] = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Shows the credit that is left at each provider.

    Asks every provider whose API can tell it. For the others it shows the balance that the
    provider told with the newest sent message.
    """
    form = form_of(json=json, as_csv=as_csv)
    settings = load(config)
    found = sending_apis(settings, create(settings), source)

    failures: list[str] = []
    listing = Listing[SourceBalance](
        columns=(
            *("source", "provider", ("CREDIT", lambda found: found.amount or "unknown"), "unit"),
            *(("AS OF", "time"), ("NOTE", _note)),
        ),
        fields=json_fields,
        names=SourceBalance.__struct_fields__,
        if_empty="",
    )

    async def balances() -> AsyncGenerator[SourceBalance]:
        looks = [_look(name, api, settings.store_address) for name, api in found.items()]
        for result in await asyncio.gather(*looks):
            if isinstance(result, SourceBalance):
                yield result
            else:
                failures.append(result)

    async def look() -> None:
        await show(listing, balances(), form, None)

    asyncio.run(look())
    if failures:
        raise Failed(*failures)


async def _look(name: str, api: Api, store: StoreAddress) -> SourceBalance | str:
    """Returns the balance, or the error in a line."""
    try:
        return await balance(name, api, store)
    except ProviderError as error:
        return f"{name}: {error_text(api, error)}"
    except StoreError as error:
        return f"{name}: {error}"


def _note(found: SourceBalance) -> str | None:
    if found.message is not None:
        return f"told with message {found.message}"
    if found.amount is None:
        return "the API cannot be asked, and no sent message has told it"
    return None

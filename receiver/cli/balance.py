"""`receiver balance`."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.call import ask, sending, told
from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, Json, load
from receiver.errors import ProviderError, StoreError
from receiver.events import utc_now
from receiver.providers import create
from receiver.providers.contract import Api
from receiver.store import StoredMessage, open_reader

#: Messages that are looked through for a balance.
_RECENT = 100


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one source."""

    source: str
    provider: str
    amount: str | None = None
    unit: str | None = None
    time: datetime | None = None
    """When the provider told it."""
    message: int | None = None
    """The message that it told it about; None: it was asked."""


def command(
    *,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Credit at each provider.

    Asks all that can tell. Of the others it is what they said when they last took a message.
    """
    settings = load(config)
    found = sending(settings, create(settings), source)

    async def look() -> list[Credit | str]:
        looks = [_look(name, api, settings.store_path) for name, api in found.items()]
        return await asyncio.gather(*looks)

    results = asyncio.run(look())
    credits_ = [result for result in results if isinstance(result, Credit)]
    if json:
        screen.json_lines(credits_)
    elif credits_:
        titles = ("SOURCE", "PROVIDER", "CREDIT", "UNIT", "AS OF (UTC)", "NOTE")
        screen.table(titles, [_row(each) for each in credits_], nothing="")
    if len(credits_) < len(results):
        raise Failed(*(result for result in results if isinstance(result, str)))


async def _look(name: str, api: Api, store: Path) -> Credit | str:
    """What is known, or why nothing is."""
    request = api.balance()
    try:
        if request is None:
            return _remembered(name, api, await _last(name, store))
        balance = await ask(api, request)
    except ProviderError as error:
        return told(name, api, error)
    except StoreError as error:
        return f"{name}: {error}"
    return Credit(
        source=name,
        provider=api.provider.name,
        amount=balance.amount,
        unit=balance.unit,
        time=utc_now(),
    )


async def _last(source: str, store: Path) -> StoredMessage | None:
    """The message of a source that was sent last of those that have a balance."""
    if not store.exists():  # noqa: ASYNC240 - a local file, once
        return None
    async with open_reader(store) as reader:
        sent = await reader.messages.find(source=source, state="sent", limit=_RECENT)
    known = [message for message in sent if message.balance is not None]
    return max(known, key=lambda message: message.sent_at or message.created_at, default=None)


def _remembered(name: str, api: Api, message: StoredMessage | None) -> Credit:
    if message is None:
        return Credit(source=name, provider=api.provider.name)
    return Credit(
        source=name,
        provider=api.provider.name,
        amount=message.balance,
        time=message.sent_at,
        message=message.id,
    )


def _row(credit: Credit) -> list[str | None]:
    note = None
    if credit.message is not None:
        note = f"told with message {credit.message}"
    elif credit.amount is None:
        note = "cannot be asked, and no message has told it"
    time = screen.time(credit.time) if credit.time else None
    return [credit.source, credit.provider, credit.amount or "unknown", credit.unit, time, note]

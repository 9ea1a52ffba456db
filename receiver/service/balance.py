"""The credit that is left at a provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from receiver.config import StoreAddress
from receiver.events import utc_now
from receiver.providers.contract import Api
from receiver.service.provider_calls import call_once
from receiver.store import open_reader
from receiver.store.engine import engine_of

#: Sent messages, the newest, that are searched for a balance.
_RECENT = 100


class SourceBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The credit of one source's account."""

    source: str
    provider: str
    amount: str | None = None
    """None: not known."""
    unit: str | None = None
    time: datetime | None = None
    """When the provider said it."""
    message: int | None = None
    """The message that the provider said it about; None: it was asked."""


async def balance(
    name: str,
    api: Api,
    store: StoreAddress,
    *,
    clock: Callable[[], datetime] = utc_now,
    timeout: float | None = None,  # noqa: ASYNC109 - see call_once
) -> SourceBalance:
    """Asks a provider for the balance, or takes it from the newest message that tells it.

    Raises `ProviderError` or `StoreError`.
    """
    request = api.balance()
    if request is None:
        return await _of_last_message(name, api, store)
    answer = await call_once(api, request, clock=clock, timeout=timeout)
    return SourceBalance(
        source=name,
        provider=api.provider.name,
        amount=answer.amount,
        unit=answer.unit,
        time=clock(),
    )


async def _of_last_message(name: str, api: Api, store: StoreAddress) -> SourceBalance:
    unknown = SourceBalance(source=name, provider=api.provider.name)
    if not engine_of(store).exists():
        return unknown
    async with open_reader(store) as reader:
        sent = await reader.messages.find(source=name, state="sent", limit=_RECENT)
    known = [message for message in sent if message.balance is not None]
    if not known:
        return unknown
    last = max(known, key=lambda message: message.sent_at or message.created_at)
    return msgspec.structs.replace(unknown, amount=last.balance, time=last.sent_at, message=last.id)

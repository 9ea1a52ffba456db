"""Rewrites numbers that earlier versions stored in other forms as E.164, at the first start.

Opt-outs, subscriptions and waiting work are rewritten before anything else is done; all the rest
beside the service, in steps of some milliseconds (`receiver.store.renumbering`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import structlog

from receiver.errors import StoreUnavailable
from receiver.providers import Provider
from receiver.repeats import is_placeholder
from receiver.store import Normaliser, Store, renumbering
from receiver.text.msisdn import is_e164, normalise, readings

log = structlog.get_logger("receiver.service.renumber")

#: Seconds between steps beside the service, and after one that failed.
_PAUSE = 0.02
_STORE_PAUSE = 1.0
#: Seconds between lines of the log.
_TELL = 5.0


def forms(providers: Mapping[str, Provider[Any]]) -> Normaliser:
    """Returns how to read numbers, by the region of each source.

    Numbers of no source, or of one that is no longer configured, are rewritten where all regions
    agree about them.
    """
    regions = {name: provider.region for name, provider in providers.items()}
    every = frozenset(regions.values())

    @lru_cache(maxsize=4096)
    def read(source: str | None, text: str) -> str:
        if source in regions:
            return normalise(text, regions[source])
        found = readings(text, every)
        return next(iter(found)) if len(found) == 1 else text

    def number(source: str | None, text: str) -> str:
        return text if is_e164(text) else read(source, text)

    return Normaliser(number=number, is_placeholder=is_placeholder)


async def before_serving(store: Store, providers: Mapping[str, Provider[Any]]) -> None:
    """Rewrites what must be rewritten before serving. Raises `StoreUnavailable`."""
    known, told = forms(providers), time.monotonic()
    progress = await store.run(renumbering.progress)
    while progress.urgent:
        progress = await store.run(renumbering.step, known, urgent=True)
        if progress.urgent and time.monotonic() - told > _TELL:
            told = time.monotonic()
            log.info("bringing stored numbers into one form before serving", table=progress.name)
    if progress.name:  # for a small store this does everything
        await store.run(renumbering.step, known, urgent=False)


async def beside_serving(store: Store, providers: Mapping[str, Provider[Any]]) -> None:
    """Rewrites all the rest, and returns."""
    known, began = forms(providers), time.monotonic()
    told = began
    progress = await store.run(renumbering.progress)
    if not progress.name:
        return
    while progress.name:
        try:
            progress = await store.run(renumbering.step, known, urgent=False)
            await asyncio.sleep(_PAUSE)
        except StoreUnavailable as error:
            log.warning("cannot bring stored numbers into one form", error=str(error))
            await asyncio.sleep(_STORE_PAUSE)
        if progress.name and time.monotonic() - told > _TELL:
            told = time.monotonic()
            log.info("bringing stored numbers into one form", table=progress.name)
    seconds = round(time.monotonic() - began, 1)
    log.info("stored numbers are in their one form", seconds=seconds)

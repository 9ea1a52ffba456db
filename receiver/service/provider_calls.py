"""Single requests to a provider's API, outside the outbox."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from receiver.config import Config
from receiver.errors import ConfigError, Fault, ProviderError
from receiver.events import utc_now
from receiver.http.redact import masked
from receiver.jobs.channel import apis
from receiver.providers import Provider
from receiver.providers.contract import Api, Request

T = TypeVar("T")


def sending_apis(
    config: Config, providers: dict[str, Provider[Any]], source: str | None = None
) -> dict[str, Api]:
    """Returns the API of each source that sends, or of `source` alone; at least one.

    Raises `ConfigError` with the setting that is missing.
    """
    found = apis(config, providers)
    if source in found:
        return {source: found[source]}
    if source is None and found:
        return found
    raise ConfigError([_missing_setting(config, source, list(found))], str(config.file))


async def call_once(
    api: Api,
    request: Request[T],
    *,
    clock: Callable[[], datetime] = utc_now,
    timeout: float | None = None,  # noqa: ASYNC109 - it limits one request, which the client does
) -> T:
    """Makes one request over a connection of its own. Raises `ProviderError`.

    `timeout` shortens `send.timeout`, in seconds.
    """
    from receiver.jobs.calling import Caller  # noqa: PLC0415 - loading takes a while

    longest = api.send_settings.timeout if timeout is None else timeout
    seconds = min(longest, api.send_settings.timeout)
    settings = msgspec.structs.replace(api.send_settings, timeout=seconds, connections=1)
    async with aclosing(Caller(clock, settings)) as caller:
        return await caller.perform(request)


def error_text(api: Api, error: ProviderError) -> str:
    """Returns a provider's error in a line, without our key."""
    return masked(str(error), [api.key])


def _missing_setting(config: Config, wanted: str | None, found: list[str]) -> Fault:
    if wanted is None:
        return Fault("sources", "no source sends; add [sources.NAME.send] with its api_key")
    source = config.sources.get(wanted)
    if source is None:
        others = f"sources that send: {', '.join(found)}" if found else "no other source sends"
        return Fault(f"sources.{wanted}", f"no such source; {others}")
    if source.send is None:
        return Fault(f"sources.{wanted}.send", "missing; add it with its api_key to send through")
    return Fault(f"sources.{wanted}.send", f"provider {source.provider} has no API to send through")

"""Checks the providers' APIs: whether they answer, the credit, and the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit, urlunsplit

import msgspec

from receiver.doctor.findings import Finding, Installation, ago, green, red, yellow
from receiver.errors import ProviderError, StoreError
from receiver.jobs.channel import apis
from receiver.providers.contract import Api, Balance, Request, Response
from receiver.service.provider_calls import call_once, error_text

#: Seconds to wait for a provider's answer.
_TIMEOUT = 5.0
#: Seconds by which our clock may differ from others.
_MOST_SECONDS = 30.0


class Probe(msgspec.Struct, frozen=True):
    """A request to a provider's API, with its answer or the error."""

    asked_at: datetime
    answer: Response | None = None
    error: str = ""


async def reachable(installation: Installation) -> list[Finding]:
    """Checks that each source's API answers, and the credit that is left. Costs nothing."""
    found = await asyncio.gather(
        *(
            _source(installation, name, api)
            for name, api in apis(installation.config, installation.parts.providers).items()
        )
    )
    return [each for findings in found for each in findings]


async def _source(installation: Installation, name: str, api: Api) -> list[Finding]:
    check = f"source {name}"
    rate = api.send_settings.rate or api.rate
    limit = f", at most {rate} requests a minute" if rate else ""
    probe = await _probe(installation, name, api)
    if probe.answer is None:
        do = f"check DNS, firewall and certificate: curl -I {_root(api.url)}"
        return [red(f"{_host(api)} cannot be reached: {probe.error}", do, check=check)]
    if probe.answer.status >= 500:
        do = "the provider has a fault; messages wait until it answers again"
        first = yellow(f"{_host(api)} answers HTTP {probe.answer.status}", do, check=check)
    else:
        first = green(f"{_host(api)} can be reached{limit}", check=check)
    return [first, *await _credit(installation, name, api)]


async def _probe(installation: Installation, name: str, api: Api) -> Probe:
    """Sends a HEAD request to the API, once for all checks; any answer will do."""
    return await installation.once(f"probe {name}", lambda: _head(installation, api))


async def _head(installation: Installation, api: Api) -> Probe:
    request = Request[Response](method="HEAD", url=_root(api.url), read=lambda answer: answer)
    asked_at = installation.clock()
    try:
        answer = await call_once(api, request, clock=installation.clock, timeout=_TIMEOUT)
    except ProviderError as error:
        return Probe(asked_at, error=error_text(api, error))
    return Probe(asked_at, answer)


def _root(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "/", "", ""))


def _host(api: Api) -> str:
    return urlsplit(api.url).netloc


async def _credit(installation: Installation, name: str, api: Api) -> list[Finding]:
    """Asks for the balance, or takes the one that the provider told with the last message."""
    check = f"source {name}"
    request = api.balance()
    if request is None:
        return await _remembered(installation, name)
    try:
        balance = await call_once(api, request, clock=installation.clock, timeout=_TIMEOUT)
    except ProviderError as error:
        do = f"check sources.{name}.send.api_key, and the account in the provider's portal"
        said = f"the API does not tell the balance: {error_text(api, error)}"
        return [red(said, do, check=check)]
    return [credit(balance, check)]


async def _remembered(installation: Installation, name: str) -> list[Finding]:
    try:
        amount, at = (await installation.readable_health()).balances[name]
    except (StoreError, KeyError):
        return []
    told = f" (told {ago(at, installation.clock())})"
    return [credit(Balance(amount=amount), f"source {name}", told)]


def credit(balance: Balance, check: str, when: str = "") -> Finding:
    """Checks that some credit is left."""
    said = f"credit {balance.amount}{f' {balance.unit}' if balance.unit else ''}{when}"
    try:
        empty = Decimal(balance.amount.replace(",", "")) <= 0
    except InvalidOperation:
        empty = False  # in words
    return (
        red(said, "pay in credit at the provider", check=check)
        if empty
        else green(said, check=check)
    )


async def clock(installation: Installation) -> list[Finding]:
    """Compares our clock with the providers' clocks."""
    found = apis(installation.config, installation.parts.providers)
    probes = await asyncio.gather(*(_probe(installation, name, api) for name, api in found.items()))
    apart = {name: _difference(probe) for name, probe in zip(found, probes, strict=True)}
    known = {name: each for name, each in apart.items() if each is not None}
    tolerances = {
        name: provider.clock_tolerance
        for name, provider in installation.parts.providers.items()
        if provider.clock_tolerance is not None
    }
    return [clock_difference(known, tolerances)]


def _difference(probe: Probe) -> timedelta | None:
    """Returns our clock minus theirs, which was read between our question and its answer."""
    answer = probe.answer
    theirs = date_of(answer.headers) if answer is not None else None
    if answer is None or theirs is None:
        return None
    ours = probe.asked_at + (answer.received_at - probe.asked_at) / 2
    return ours - theirs - timedelta(seconds=0.5)  # its header is cut to whole seconds


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Returns the moment of a Date header (RFC 9110, 6.6.1); None without a valid one."""
    try:
        moment = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def clock_difference(
    apart: Mapping[str, timedelta], tolerances: Mapping[str, timedelta]
) -> Finding:
    """Returns the finding about these differences, ours minus theirs.

    The smallest counts: one provider's clock may be wrong, but hardly all of them. `tolerances`:
    by source, how far the time in a push may be from ours, if its credential depends on it.
    """
    do = "let the network set the clock: timedatectl set-ntp true"
    if not apart:
        said = "no provider told the time"
        if tolerances:
            said = f"{said}, and credentials of pushes depend on it"
            return yellow(said, "see whether it is synchronised: timedatectl")
        return green(said)
    name = min(apart, key=lambda each: abs(apart[each]))
    seconds = apart[name].total_seconds()
    said = (
        f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} that of {name}'s provider"
    )
    difference = abs(apart[name])
    late = [source for source, tolerance in tolerances.items() if difference >= tolerance]
    if late:
        return red(f"{said}: pushes of {', '.join(late)} are refused", do)
    if abs(seconds) > _MOST_SECONDS:
        return yellow(said, do)
    return green(said)

"""The providers' APIs: whether they can be reached, what credit is left, what time it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec

from receiver.doctor.findings import Case, Finding, ago, green, red, yellow
from receiver.errors import ProviderError, StoreError
from receiver.http.redact import masked
from receiver.jobs.calling import open_caller
from receiver.jobs.channel import apis
from receiver.providers.contract import Api, Balance, Request, Response

T = TypeVar("T")

#: Seconds that a provider is given for an answer.
_PATIENCE = 5.0
#: Between our clock and that of others; its header counts whole seconds.
_MOST_SECONDS = 30.0


class Visit(msgspec.Struct, frozen=True):
    """What came of a request to a provider's API: its answer, or why there was none."""

    asked_at: datetime
    answer: Response | None = None
    error: str = ""


async def reachable(case: Case) -> list[Finding]:
    """Each source's API answers over TLS, and says what credit is left. Costs nothing."""
    found = await asyncio.gather(
        *(_source(case, name, api) for name, api in apis(case.config, case.parts.providers).items())
    )
    return [each for findings in found for each in findings]


async def _source(case: Case, name: str, api: Api) -> list[Finding]:
    check = f"source {name}"
    rate = api.send_settings.rate or api.rate
    limit = f", at most {rate} requests a minute" if rate else ""
    visit = await _visit(case, name, api)
    if visit.answer is None:
        do = f"look at name, firewall and certificate: curl -I {_root(api.url)}"
        return [red(f"{_host(api)} cannot be reached: {visit.error}", do, check=check)]
    if visit.answer.status >= 500:
        do = "the provider has a fault; messages wait until it is mended"
        first = yellow(f"{_host(api)} answers HTTP {visit.answer.status}", do, check=check)
    else:
        first = green(f"{_host(api)} can be reached{limit}", check=check)
    return [first, *await _credit(case, name, api)]


async def _visit(case: Case, name: str, api: Api) -> Visit:
    """A look at the door of the API, once: whatever it answers is an answer."""
    return await case.once(f"visit {name}", lambda: _knock(case, api))


async def _knock(case: Case, api: Api) -> Visit:
    request = Request[Response](method="HEAD", url=_root(api.url), read=_whole)
    asked_at = case.clock()
    try:
        answer = await _ask(case, api, request)
    except ProviderError as error:
        return Visit(asked_at, error=masked(str(error), [api.key]))
    return Visit(asked_at, answer)


def _whole(response: Response) -> Response:
    return response


async def _ask(case: Case, api: Api, request: Request[T]) -> T:
    """Over a connection of its own. Raises `ProviderError`."""
    patience = min(_PATIENCE, api.send_settings.timeout)
    settings = msgspec.structs.replace(api.send_settings, timeout=patience, connections=1)
    async with open_caller(case.clock, settings) as caller:
        return await caller.perform(request)


def _root(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "/", "", ""))


def _host(api: Api) -> str:
    return urlsplit(api.url).netloc


async def _credit(case: Case, name: str, api: Api) -> list[Finding]:
    """What is left, asked for or, where that cannot be, as it was told with the last message."""
    check = f"source {name}"
    request = api.balance()
    if request is None:
        return await _remembered(case, name)
    try:
        balance = await _ask(case, api, request)
    except ProviderError as error:
        words = masked(str(error), [api.key])
        do = f"look at sources.{name}.send.api_key, and at the account in the provider's portal"
        return [red(f"the API refuses to tell the balance: {words}", do, check=check)]
    return [credit(balance, check)]


async def _remembered(case: Case, name: str) -> list[Finding]:
    try:
        found = await case.store_health() if case.store.exists() else None
    except StoreError:
        return []
    if found is None or name not in found.balances:
        return []
    amount, at = found.balances[name]
    told = f" (told {ago(at, case.clock())})"
    return [credit(Balance(amount=amount), f"source {name}", told)]


def credit(balance: Balance, check: str, when: str = "") -> Finding:
    """Whether there is any."""
    said = f"credit {balance.amount}{f' {balance.unit}' if balance.unit else ''}{when}"
    try:
        empty = Decimal(balance.amount.replace(",", "")) <= 0
    except InvalidOperation:
        empty = False  # in words
    return red(said, "top the account up", check=check) if empty else green(said, check=check)


async def clock(case: Case) -> list[Finding]:
    """Our clock against the providers'."""
    found = apis(case.config, case.parts.providers)
    visits = await asyncio.gather(*(_visit(case, name, api) for name, api in found.items()))
    apart = {name: _difference(visit) for name, visit in zip(found, visits, strict=True)}
    known = {name: each for name, each in apart.items() if each is not None}
    tolerances = {
        name: provider.clock_tolerance
        for name, provider in case.parts.providers.items()
        if provider.clock_tolerance is not None
    }
    return [of_clock(known, tolerances)]


def _difference(visit: Visit) -> timedelta | None:
    """Our clock less theirs, which was read somewhere between our question and its answer."""
    answer = visit.answer
    theirs = date_of(answer.headers) if answer is not None else None
    if answer is None or theirs is None:
        return None
    ours = visit.asked_at + (answer.received_at - visit.asked_at) / 2
    return ours - theirs - timedelta(seconds=0.5)  # its header is cut to whole seconds


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """The moment in a Date header (RFC 9110, 6.6.1); None without a right one."""
    try:
        moment = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def of_clock(apart: Mapping[str, timedelta], tolerances: Mapping[str, timedelta]) -> Finding:
    """Judges the differences between our clock and the providers', ours less theirs.

    The smallest counts: one provider's clock may be wrong, hardly all of them. `tolerances`: by
    source, how far the time in a push may be from ours, if its credential depends on it.
    """
    do = "have the clock set by the network: timedatectl set-ntp true"
    if not apart:
        said = "nobody told the time"
        if tolerances:
            said = f"{said}, and credentials of pushes depend on it"
            return yellow(said, "timedatectl says if it is synchronised")
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

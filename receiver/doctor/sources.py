"""Checks the sources: their pushes, the refused ones, their addresses, and unknown statuses."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from receiver.doctor.findings import Finding, Installation, ago, green, yellow
from receiver.errors import StoreError
from receiver.providers import Provider
from receiver.service.parts import UNKNOWN
from receiver.store.health_reads import StoreHealth
from receiver.store.not_understood import NotUnderstood
from receiver.text.escape import escape

#: A source that pushed nothing for so long has perhaps been forgotten.
_SILENT = timedelta(days=7)
#: Older refusals are not a problem of today.
_LATELY = timedelta(days=1)
#: Words or reasons that are named, and characters of each: they come from outside.
_MOST_NAMED = 5
_MOST_LETTERS = 60


async def pushes(installation: Installation) -> list[Finding]:
    """Checks the last push of each source, and its requests in the quarantine."""
    found = await installation.readable_health()
    now = installation.clock()
    configured = [
        each
        for name, provider in installation.parts.providers.items()
        if provider.pushes
        for each in of_source(name, provider, found, now)
    ]
    return [*configured, *_strangers(installation, found)]


def _strangers(installation: Installation, found: StoreHealth) -> list[Finding]:
    """Returns the sources of the store that are not configured; they may have been renamed."""
    do = "add it to the configuration, or to former_names of the source that replaced it"
    return [
        yellow(f"{UNKNOWN}: the provider is not told about a STOP", do, check=f"source {name}")
        for name in installation.config.strangers(found.sources)
    ]


def of_source(
    name: str, provider: Provider[Any], found: StoreHealth, now: datetime
) -> list[Finding]:
    """Returns the findings about one source."""
    check = f"source {name}"
    findings = [_last_push(check, name, provider, found, now)]
    for entry in found.quarantine:
        if entry.source != name:
            continue
        said = f"{entry.requests} requests in the quarantine, the last {ago(entry.newest, now)}"
        if entry.clock:
            late = f"{entry.clock} of them have the right credential, but a time too far from ours"
            do = (
                "set the clock (timedatectl), or raise the setting that `receiver quarantine`"
                " names and `receiver reload`; then `receiver quarantine retry --all`"
            )
            findings.append(yellow(late, do, check=check))
        if entry.authenticated:
            do = "see `receiver quarantine`, remove the reason, `receiver quarantine retry --all`"
            findings.append(
                yellow(f"{said}: with the right credential{_reasons(found, name)}", do, check=check)
            )
        elif name not in found.last_pushes and now - entry.newest < _LATELY:
            do = "compare the token in the provider's portal with `tokens` (docs/providers.md)"
            findings.append(yellow(f"{said}: with a wrong credential", do, check=check))
        else:
            findings.append(green(f"{said}: without the right credential", check=check))
    return findings


def _reasons(found: StoreHealth, name: str) -> str:
    """Returns the reasons of requests in the quarantine, each with its number."""
    reasons: Counter[str] = Counter()
    if name in found.not_understood:
        for reason, n in found.not_understood[name].reasons.items():
            reasons[f"'{shortened(reason)}'"] += n
    return f": {counted(reasons)}" if reasons else ""


def _last_push(
    check: str, name: str, provider: Provider[Any], found: StoreHealth, now: datetime
) -> Finding:
    push = f"receiver simulate {provider.name} {provider.sample_kinds[0]} --source {name}"
    do = f"test the way here with `{push} --url https://…`; it makes an event"
    last = found.last_pushes.get(name)
    if last is not None:
        said = f"last push {ago(last, now)}"
        if now - last > _SILENT:
            return yellow(said, f"if you expected more, {do}", check=check)
        return green(said, check=check)
    if found.searched_back_to is not None:
        since = ago(found.searched_back_to, now).removesuffix(" ago")
        return yellow(f"no push for {since} at least", do, check=check)
    return yellow("no push yet", do, check=check)


async def addresses(installation: Installation) -> list[Finding]:
    """Checks that the recorded addresses are the providers', not the proxy's."""
    trusted = ", ".join(map(str, installation.config.server.trusted_proxies)) or "none"
    try:
        clients = (await installation.readable_health()).clients
    except StoreError:
        clients = []
    if not clients:
        return [
            green(f"trusted_proxies: {trusted}; no push yet that would show whether that is right")
        ]
    inside = {client for client in clients if _is_inside(installation, client)}
    if len(inside) == len(set(clients)):
        return [
            yellow(
                f"the last {len(clients)} pushes are recorded as from"
                f" {', '.join(sorted(inside))}: that is a proxy, or this machine",
                "the proxy must set X-Forwarded-For (docs/deploy), and its address be in"
                " server.trusted_proxies; without that allow_ips cannot work",
            )
        ]
    return [green(f"trusted_proxies: {trusted}; the last pushes have addresses from outside")]


def _is_inside(installation: Installation, client: str) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return True  # a Unix socket has none
    own = any(address in network for network in installation.config.server.trusted_proxies)
    return own or not address.is_global


async def statuses(installation: Installation) -> list[Finding]:
    """Checks the statuses in the newest delivery reports of each source."""
    found = await installation.readable_health()
    providers = installation.parts.providers
    worries = [
        finding
        for source, seen in found.not_understood.items()
        for finding in _unknown_words(source, providers[source], seen)
    ]
    events = sum(seen.events for seen in found.not_understood.values())
    if worries or not events:
        return worries
    return [green(f"every status in the last {events:,} events is understood")]


def _unknown_words(source: str, provider: Provider[Any], seen: NotUnderstood) -> list[Finding]:
    """Returns the finding about the words of one source, if some are not understood.

    A word that was mended since is understood.
    """
    unknown = Counter(
        {
            words: n
            for words, n in seen.statuses.items()
            if not any(map(provider.knows_status, filter(None, words)))
        }
    )
    if not unknown:
        return []
    said = (
        f"{unknown.total():,} of the last {seen.events:,} events have a status that is not"
        f" understood: {counted(Counter({_named(*words): n for words, n in unknown.items()}))}"
    )
    [(most, _)] = unknown.most_common(1)
    do = (
        f"see one in `receiver events {seen.newest[most]} --raw`, and add the word to the"
        " provider's description; if the provider came with the program, tell its developers"
    )
    return [yellow(said, do, check=f"source {source}")]


def counted(words: Counter[str]) -> str:
    """Returns the most frequent words with their numbers: `12 x status 'FOO'`."""
    named = [f"{n:,} x {word}" for word, n in words.most_common(_MOST_NAMED)]
    left = len(words) - len(named)
    return ", ".join([*named, f"and {left:,} others"] if left else named)


def shortened(word: str) -> str:
    """Returns a text from outside in one bounded line."""
    return escape(word[:_MOST_LETTERS]) + ("…" if len(word) > _MOST_LETTERS else "")


def _named(word: str | None, code: str | None) -> str:
    said = (("status", word), ("code", code))
    return " ".join(f"{kind} '{shortened(text)}'" for kind, text in said if text) or "no status"

"""The sources: what they pushed, what was refused, from which addresses it came."""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from receiver.doctor.findings import Case, Finding, ago, green, yellow
from receiver.errors import StoreError
from receiver.providers import PROVIDERS, Provider
from receiver.service.parts import UNKNOWN
from receiver.store.health_reads import StoreHealth

#: A source that pushed nothing for so long has perhaps been forgotten.
_SILENT = timedelta(days=7)
#: Refusals older than that are history.
_LATELY = timedelta(days=1)


async def pushes(case: Case) -> list[Finding]:
    """When each source pushed last, and what of it lies in the quarantine."""
    found = await _vitals(case)
    if found is None:
        return []
    now = case.clock()
    configured = [
        each
        for name, source in case.config.sources.items()
        if PROVIDERS[source.provider].pushes
        for each in of_source(name, PROVIDERS[source.provider], found, now)
    ]
    return [*configured, *_strangers(case, found)]


def _strangers(case: Case, found: StoreHealth) -> list[Finding]:
    """Sources of the store that are not configured, perhaps since they were renamed."""
    do = "add it to the configuration, or name it in former_names of the source that it is now"
    return [
        yellow(f"{UNKNOWN}: a STOP is told to nobody there", do, check=f"source {name}")
        for name in case.config.strangers(found.sources)
    ]


def of_source(
    name: str, provider: type[Provider[Any]], found: StoreHealth, now: datetime
) -> list[Finding]:
    """What is to be said about one source."""
    check = f"source {name}"
    findings = [_last_push(check, name, provider, found, now)]
    for entry in found.quarantine:
        if entry.source != name:
            continue
        said = f"{entry.requests} requests in the quarantine, the last {ago(entry.newest, now)}"
        if entry.clock:
            late = f"{entry.clock} of them have the right credential, but another time than ours"
            do = (
                "set the clock (timedatectl), or raise the setting that `receiver quarantine`"
                " names and `receiver reload`; then `receiver quarantine retry --all`"
            )
            findings.append(yellow(late, do, check=check))
        if entry.authenticated:
            do = "`receiver quarantine` shows why; mend that, `receiver quarantine retry --all`"
            findings.append(yellow(f"{said}: the provider's own", do, check=check))
        elif name not in found.last_pushes and now - entry.newest < _LATELY:
            do = "compare the token in the provider's portal with `tokens` (docs/providers.md)"
            findings.append(yellow(f"{said}: with a wrong credential", do, check=check))
        else:
            findings.append(green(f"{said}: strangers'", check=check))
    return findings


def _last_push(
    check: str, name: str, provider: type[Provider[Any]], found: StoreHealth, now: datetime
) -> Finding:
    push = f"receiver simulate {provider.name} {provider.sample_kinds[0]} --source {name}"
    do = f"`{push} --url https://…` tries the way here (and makes an event)"
    last = found.last_pushes.get(name)
    if last is not None:
        said = f"last push {ago(last, now)}"
        if now - last > _SILENT:
            return yellow(said, f"if more was to be expected: {do}", check=check)
        return green(said, check=check)
    if found.searched_back_to is not None:
        since = ago(found.searched_back_to, now).removesuffix(" ago")
        return yellow(f"no push for {since} at least", do, check=check)
    return yellow("no push yet", do, check=check)


async def addresses(case: Case) -> list[Finding]:
    """Whether the addresses that are recorded are those of the providers, not our proxy's."""
    trusted = ", ".join(map(str, case.config.server.trusted_proxies)) or "none"
    found = await _vitals(case)
    if found is None or not found.clients:
        return [green(f"trusted_proxies: {trusted}; no push yet to see what they make of it")]
    inside = {client for client in found.clients if _is_inside(case, client)}
    if len(inside) == len(set(found.clients)):
        return [
            yellow(
                f"the last {len(found.clients)} pushes are recorded as from"
                f" {', '.join(sorted(inside))}: that is a proxy, or this machine",
                "the proxy must set X-Forwarded-For (docs/deploy), and its address be in"
                " server.trusted_proxies; without that allow_ips cannot work",
            )
        ]
    return [green(f"trusted_proxies: {trusted}; the last pushes have addresses from outside")]


def _is_inside(case: Case, client: str) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return True  # a Unix socket has none
    own = any(address in network for network in case.config.server.trusted_proxies)
    return own or not address.is_global


async def _vitals(case: Case) -> StoreHealth | None:
    """None where there is no store yet, or none that can be read; `store` tells why."""
    try:
        found = await case.store_health() if case.store.exists() else None
    except StoreError:
        return None
    return found if found is not None and found.version == found.newest else None

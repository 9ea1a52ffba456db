"""Looks at a whole installation and says what is well and what to do, changing nothing.

`CHECKS` is the registry. A check is one function that gets the `Case` and returns findings; what
it raises is a finding too, so that one broken part hides no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from receiver.doctor import disk, machine, outside, providers, running, settings, sources, stored
from receiver.doctor.findings import Case, Check, Finding, Level, green, red, yellow

__all__ = ["CHECKS", "Case", "Check", "Finding", "Level", "examine", "green", "red", "yellow"]

#: In the order in which they are told. Those of the first table are done one after another, for
#: they share a disk; those of the second meanwhile, for they wait for others.
LOCAL: dict[str, Check] = {
    "configuration": settings.cautions,
    "program": machine.program,
    "sqlite": machine.sqlite,
    "service": running.service,
    "files": stored.files,
    "store": stored.contents,
    "integrity": stored.integrity,
    "work": stored.work,
    "retention": stored.retention,
    "disk": disk.space,
    "sync": disk.sync,
    "sources": sources.pushes,
    "proxies": sources.addresses,
}
REMOTE: dict[str, Check] = {
    "provider": providers.reachable,
    "clock": providers.clock,
    "outside": outside.public,
}
CHECKS = LOCAL | REMOTE


async def examine(case: Case) -> AsyncIterator[Finding]:
    """Everything that is found, check by check."""
    waiting = [asyncio.create_task(_made(name, check, case)) for name, check in REMOTE.items()]
    for name, check in LOCAL.items():
        for finding in await _made(name, check, case):
            yield finding
    for task in waiting:
        for finding in await task:
            yield finding


async def _made(name: str, check: Check, case: Case) -> list[Finding]:
    try:
        found = await check(case)
    except PermissionError as error:
        do = "run it as the service's user (sudo -u receiver receiver doctor), or as root"
        found = [yellow(f"{error.filename}: this user may not look at it", do)]
    except Exception as error:  # noqa: BLE001 - the border: one check must not end the others
        # Without its message, which may hold anything.
        found = [red(f"the check itself failed: {type(error).__name__}", "tell the developers")]
    return [each if each.check else msgspec.structs.replace(each, check=name) for each in found]

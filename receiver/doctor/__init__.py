"""Checks a whole installation and says what to do about each problem, changing nothing.

`CHECKS` is the registry. A check is one function that gets the `Installation` and returns findings.
An error in a check becomes a finding too, so that it hides no other problem.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from receiver.doctor import (
    cluster,
    disk,
    machine,
    outside,
    providers,
    running,
    sources,
    stored,
    streams,
)
from receiver.doctor.findings import (
    AS_USER,
    Check,
    Finding,
    Installation,
    Level,
    green,
    red,
    yellow,
)
from receiver.errors import StoreError

__all__ = [
    "CHECKS",
    "LOCAL",
    "Check",
    "Finding",
    "Installation",
    "Level",
    "examine",
    "green",
    "red",
    "run",
    "yellow",
]

#: In the order of the findings. Local checks run one after another, since they share a disk; remote
#: checks run at the same time, since they wait for other machines.
LOCAL: dict[str, Check] = {
    "configuration": machine.cautions,
    "program": machine.program,
    "sqlite": machine.sqlite,
    "database": cluster.server,
    "replication": cluster.replication,
    "nodes": cluster.nodes,
    "service": running.service,
    "files": stored.files,
    "store": stored.contents,
    "integrity": stored.integrity,
    "work": stored.work,
    "retention": stored.retention,
    "disk": disk.space,
    "sync": disk.sync,
    "sources": sources.pushes,
    "words": sources.statuses,
    "proxies": sources.addresses,
}
REMOTE: dict[str, Check] = {
    "provider": providers.reachable,
    "clock": providers.clock,
    "outside": outside.public,
    "streams": streams.kept,
}
CHECKS = LOCAL | REMOTE
#: Checks of a store in a file, and those of one in PostgreSQL.
_OF_FILE = frozenset({"sqlite", "integrity", "disk", "sync"})
_OF_SERVER = frozenset({"database", "replication", "nodes"})


async def examine(installation: Installation) -> AsyncIterator[Finding]:
    """Yields the findings, check by check."""
    waiting = [
        asyncio.create_task(run(name, check, installation)) for name, check in REMOTE.items()
    ]
    for name, check in LOCAL.items():
        for finding in await run(name, check, installation):
            yield finding
    for task in waiting:
        for finding in await task:
            yield finding


async def run(name: str, check: Check, installation: Installation) -> list[Finding]:
    """Returns the findings of a check, with its name; none if it is for other stores."""
    if name in (_OF_SERVER if installation.is_file else _OF_FILE):
        return []
    try:
        found = await check(installation)
    except StoreError:
        return []  # the check `store` tells why
    except PermissionError as error:
        found = [yellow(f"{error.filename}: this user has no permission to read it", AS_USER)]
    except Exception as error:  # noqa: BLE001 - one broken check must not end the others
        # Without its message, which may hold a token or a text of a person.
        found = [
            red(f"the check itself failed: {type(error).__name__}", "report it to the developers")
        ]
    return [each if each.check else msgspec.structs.replace(each, check=name) for each in found]

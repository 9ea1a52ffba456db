"""Takes requests again that could not become events."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from receiver.errors import PushError
from receiver.service.commands import Outcome
from receiver.store import PurgeKind, Request, purges

if TYPE_CHECKING:
    from receiver.providers import Push
    from receiver.service.parts import Service

#: The setting that a source lacks whose reply is too late for an answer.
_NO_SEND = "its source has no [sources.NAME.send]; add its api_key, then `receiver jobs retry`"


async def retry(service: Service, id_: int | None) -> Outcome:
    """Takes one request again, or (None) all of them, the oldest first.

    A request that becomes an event, or repeats one, leaves the quarantine.
    """
    reader, store = service.store.reader, service.store
    ids = [id_] if id_ is not None else [e.id async for e in reader.every_quarantined()]
    changed, failures = 0, []
    for each in sorted(ids):
        entries = await reader.quarantined(each)
        if not entries:
            failures.append(f"{each}: no such request")
            continue
        entry = entries[0]
        try:
            events = await service.intake.retake(
                entry.source, push_of(entry.request, entry.received_at)
            )
        except PushError as error:
            failures.append(f"{each}: {error}")
            continue
        await store.run(purges.drop, PurgeKind.QUARANTINE, [each])
        changed += 1
        if events and await _cannot_reply(service, entry.source, events):
            failures.append(f"{each}: taken, but its reply cannot be sent: {_NO_SEND}")
    return Outcome(changed, failures)


def push_of(request: Request, received_at: datetime) -> Push:
    """Returns a request that was kept as the push that it was."""
    from receiver.providers import Push  # noqa: PLC0415 - a list does not need the providers

    return Push(received_at=received_at, **msgspec.structs.asdict(request))


async def _cannot_reply(service: Service, source: str, events: list[int]) -> bool:
    """Returns True if one of these events has a reply that its source has no way to send."""
    settings = service.parts.config.sources[source].send
    return settings is None and bool(await service.store.reader.messages.find(events=events))

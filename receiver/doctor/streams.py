"""Checks the streams of NATS that events are forwarded to: there, and kept safely."""

from __future__ import annotations

import asyncio

from receiver.doctor.findings import Finding, Installation, green, red, yellow
from receiver.errors import NoAnswer
from receiver.handlers import Stream
from receiver.jobs.forward import RETRIES

#: Seconds to wait for a connection.
_PATIENCE = 5.0


async def kept(installation: Installation) -> list[Finding]:
    """Checks each stream that a plugin forwards to."""
    plugins = installation.parts.plugins
    streams = [each for plugin in plugins for each in plugin.targets if isinstance(each, Stream)]
    found = await asyncio.gather(*map(_stream, streams))
    return [each for findings in found for each in findings]


async def _stream(stream: Stream) -> list[Finding]:
    from receiver.net.jetstream import Publisher  # noqa: PLC0415 - an extra

    check = f"stream {stream.name}"
    publisher = Publisher(stream, remembered=RETRIES.longest)
    connection = asyncio.create_task(publisher.stay_connected())
    try:
        doubts = await publisher.examined(_PATIENCE)
    except NoAnswer as error:
        do = f"check {', '.join(stream.servers)}, the credentials and permissions (docs/nats.md)"
        return [red(f"{stream.stream}: {error}", do, check=check)]
    finally:
        publisher.close()
        connection.cancel()
        await asyncio.wait([connection])
    if not doubts:
        return [green(f"{stream.stream} is there and keeps events safely", check=check)]
    return [
        (red if doubt.fails else yellow)(f"{doubt.setting}: {doubt.found}", doubt.do, check=check)
        for doubt in doubts
    ]

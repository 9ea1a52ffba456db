"""Telling systemd how we are: ready, reloading, stopping, alive (sd_notify(3)).

Without systemd there is nobody to tell, and all of this does nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from receiver.store.group_commit import Life


def notify(*states: str) -> None:
    """Sends these states, for example `READY=1`. That nobody listens is no error."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.send("\n".join(states).encode())


def reloading() -> None:
    """Says that the configuration is being read; `READY=1` says that it is done."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify("RELOADING=1", f"MONOTONIC_USEC={now}")


@asynccontextmanager
async def watched(life: Life) -> AsyncIterator[None]:
    """Ready with the block's begin, stopping at its end.

    Alive as long as the event loop turns and `life` lasts.
    """
    alive = asyncio.create_task(_say_alive(life))
    notify("READY=1")
    try:
        yield
    finally:
        notify("STOPPING=1")
        alive.cancel()
        with suppress(asyncio.CancelledError):
            await alive


async def _say_alive(life: Life) -> None:
    """Twice in the time after which systemd takes us for hung (`WatchdogSec=`)."""
    pause = _watchdog()
    while pause is not None and life.ended is None:
        notify("WATCHDOG=1")
        await asyncio.sleep(pause)


def _watchdog() -> float | None:
    """Seconds between signs of life; None where nobody wants any, or somebody else's."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not microseconds.isdecimal() or pid not in (None, str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000

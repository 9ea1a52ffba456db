"""Events as requests to a target: CloudEvents JSON, signed as Standard Webhooks has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from receiver.errors import NotTaken
from receiver.events import Data, Event
from receiver.net.cloudevents import structured
from receiver.net.targets import Answer, Target
from receiver.net.webhooks import signed_headers, signing_key

if TYPE_CHECKING:  # loading it takes longer than everything else here
    import ssl

    from receiver.net.client import Sender


class Poster:
    """Posts events to one target; `open_poster` makes it."""

    def __init__(self, target: Target, sender: Sender, clock: Callable[[], datetime]) -> None:
        self._target = target
        self._sender = sender
        self._clock = clock
        self._keys = [signing_key(secret.reveal()) for secret in target.secrets]
        self._headers = {name: value.reveal() for name, value in target.headers.items()}

    async def post(self, event: Event[Data], *, whole: bool = False, accept: str = "*/*") -> Answer:
        """Posts an event, with its id as `webhook-id`. Raises `NoAnswer`.

        `whole`: the body of the answer counts. Its `retry_after` is at most `retry_after_max`.
        """
        content, body = structured(event)
        headers = {
            "accept": accept,
            **self._headers,
            **content,
            **signed_headers(event.id, self._clock(), body, self._keys),
        }
        answer = await self._sender.post(headers, body, whole=whole)
        asked = min(answer.retry_after or 0.0, self._target.retry_after_max) or None
        return msgspec.structs.replace(answer, retry_after=asked)

    async def deliver(self, event: Event[Data]) -> str:
        """Posts an event, and returns the status in words with which it is taken.

        Raises `NotTaken`.
        """
        answer = await self.post(event)
        if 200 <= answer.status < 300:
            return status_words(answer.status)
        raise NotTaken(
            status_words(answer.status),
            retry_after=answer.retry_after,
            for_good=answer.status == HTTPStatus.GONE,
        )


@asynccontextmanager
async def open_poster(
    target: Target, clock: Callable[[], datetime], tls: ssl.SSLContext
) -> AsyncIterator[Poster]:
    """Opens a poster with connections of its own. Raises ValueError for what is no URL."""
    from receiver.net.client import open_sender  # noqa: PLC0415 - as above

    async with open_sender(
        target.url,
        allow=target.allow,
        connections=target.connections,
        timeout=target.timeout,
        clock=clock,
        tls=tls,
    ) as sender:
        yield Poster(target, sender, clock)


def load_tls() -> ssl.SSLContext:
    """Loads what makes requests, and the certificates that are trusted; it takes a while."""
    from receiver.net.client import tls_context  # noqa: PLC0415 - as above

    return tls_context()


def status_words(status: int) -> str:
    """Returns an HTTP status as an error, without the words of the other side."""
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    if 300 <= status < 400:
        return f"{phrase}: redirects are not followed; set url to where it leads"
    return phrase

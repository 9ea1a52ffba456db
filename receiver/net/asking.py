"""Asks other systems about events: what they answer is for a handler to read.

Requests are those of a forwarded event. An answer other than 2xx, and none at all, is a
`HandlerError`: the handler is tried again, unless the system says that it will not take the event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

from receiver.errors import HandlerError, NoAnswer
from receiver.events import Data, Event, utc_now
from receiver.limits import Circuit
from receiver.net.posting import Poster, load_tls, open_poster, status_words
from receiver.net.targets import Answer, Target

#: Seconds of rest for a system that fails for everybody, after the first failures and each probe.
_RESTS = (5.0, 30.0, 120.0)
#: Refusals that another try may not meet; any other 4xx is about the event.
_PASSING = frozenset(
    (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
)


class Asker:
    """Asks one target about events, a few at a time; `asking` makes it.

    A target that fails for everybody rests: it is not asked at all, and after that about one event,
    until it answers that.
    """

    def __init__(
        self, target: Target, poster: Poster, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`now`: seconds of a clock that nobody sets."""
        self._name = target.name
        self._poster = poster
        self._now = now
        self._free = asyncio.Semaphore(target.connections)
        self._circuit = Circuit(_RESTS)
        self._probing = False
        self._failure = ""

    async def ask(self, event: Event[Data], *, accept: str = "*/*") -> Answer:
        """Posts an event, with its id as `webhook-id`, and returns the answer: a 2xx, whole.

        Raises `HandlerError`.
        """
        async with self._free:
            self._refuse_while_it_rests()
            self._probing = probe = self._circuit.open
            try:
                answer = await self._poster.post(event, whole=True, accept=accept)
            except NoAnswer as error:
                raise self._failed(str(error), probe=probe) from None
            finally:
                self._probing &= not probe
        words = status_words(answer.status)
        if answer.status >= 500 or answer.status in _PASSING or 300 <= answer.status < 400:
            raise self._failed(words, probe=probe, asked=answer.retry_after)
        self._circuit.succeeded()
        if answer.status >= 400:
            raise HandlerError(f"target {self._name}: {words}", retryable=False)
        return answer

    def _refuse_while_it_rests(self) -> None:
        rest = self._circuit.rest(self._now())
        if self._probing and not rest:
            rest = _RESTS[0]
        if rest:
            words = f"target {self._name} is not asked, for it failed just before: {self._failure}"
            raise HandlerError(words, retry_after=rest)

    def _failed(self, words: str, *, probe: bool, asked: float | None = None) -> HandlerError:
        self._failure = words
        self._circuit.failed(self._now(), probe=probe, asked=asked)
        return HandlerError(f"target {self._name}: {words}", retry_after=asked)


@asynccontextmanager
async def asking(target: Target) -> AsyncIterator[Asker]:
    """Opens connections to a target, for as long as a plugin runs: from `start` to `stop`.

    Raises ValueError for what is no URL.
    """
    tls = await asyncio.to_thread(load_tls)
    async with open_poster(target, utc_now, tls) as poster:
        yield Asker(target, poster)

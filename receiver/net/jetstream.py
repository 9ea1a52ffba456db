"""Publishes events to a stream of NATS JetStream; each counts when the stream has acknowledged it.

What gathers while a batch is being published goes into the next one, so that a busy stream syncs
its disk once for many events. A batch is atomic: one event in it that the stream has already
refuses all of it. Then each is published alone, and the stream says which of them it had.

What is under way when the connection breaks is not known to be stored: it is published again, with
the same id.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import structlog
from nats.errors import Error as NatsError

from receiver.errors import NoAnswer, NotTaken
from receiver.events import Data, Event
from receiver.net.cloudevents import structured
from receiver.net.durability import Doubt, StreamInfo, doubts_of
from receiver.net.nats_connection import PATIENCE, Ack, Connection, one_line
from receiver.net.streams import Stream

log = structlog.get_logger("receiver.net.jetstream")

#: The stream takes no batches: it is older than 2.12, or made without `allow_atomic`.
_NO_BATCHES = 10174
#: Bytes of a message beside its body: our headers, with room to spare.
_HEAD = 1024


class _Item(msgspec.Struct, eq=False):
    """An event that waits to be published, and what became known of it."""

    subject: str
    headers: dict[str, str]
    body: bytes
    verdict: asyncio.Future[str | NotTaken]

    def decide(self, verdict: str | NotTaken) -> None:
        """Says what became of it; the first time counts."""
        if not self.verdict.done():
            self.verdict.set_result(verdict)


class Publisher:
    """Publishes to one stream, while `stay_connected` runs."""

    def __init__(
        self, stream: Stream, *, remembered: float, on_up: Callable[[], None] = lambda: None
    ) -> None:
        """`remembered`: seconds for which the stream should know what it has stored.

        `on_up` is called whenever there is a connection (again).
        """
        self._stream = stream
        self._remembered = remembered
        self._on_up = on_up
        self._connection = Connection(stream)
        self._atomic = False
        self._turn = asyncio.Lock()
        self._waiting: list[_Item] = []
        self._doubts: list[Doubt] = []

    async def stay_connected(self) -> None:
        """Connects, again whenever the connection has ended; looks at the stream each time."""
        await self._connection.stay(self._greet)

    def close(self) -> None:
        """Has `stay_connected` return."""
        self._connection.close()

    async def deliver(self, event: Event[Data]) -> str:
        """Publishes an event, and returns where the stream has it. Raises `NotTaken`."""
        headers, body = structured(event)
        headers |= {"Nats-Msg-Id": event.id, "Nats-Expected-Stream": self._stream.stream}
        verdict: asyncio.Future[str | NotTaken] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Item(self._stream.subject_of(event), headers, body, verdict))
        async with self._turn:
            if not verdict.done():
                await self._publish_waiting()
        found = await verdict
        if isinstance(found, NotTaken):
            raise found
        return found

    async def examined(self, within: float = PATIENCE) -> list[Doubt]:
        """Returns what is doubtful of the stream, as soon as there is a connection.

        Raises `NoAnswer` if there is none in time.
        """
        try:
            await asyncio.wait_for(self._connection.up.wait(), within)
        except TimeoutError:
            raise NoAnswer(f"no connection: {self._connection.trouble}") from None
        return await self._examine()

    async def _greet(self) -> None:
        try:
            doubts = await self._examine()
        except NoAnswer as error:
            log.warning("stream not examined", target=self._stream.name, error=str(error))
        else:
            if doubts != self._doubts:
                for doubt in doubts:
                    say = log.error if doubt.fails else log.warning
                    say("worth a look", target=self._stream.name, why=str(doubt))
            self._doubts = doubts
        self._on_up()

    async def _examine(self) -> list[Doubt]:
        """Asks for the stream. Raises `NoAnswer`."""
        question = f"$JS.API.STREAM.INFO.{self._stream.stream}"
        try:
            info = msgspec.json.decode(await self._connection.ask(question), type=StreamInfo)
        except (NoAnswer, msgspec.DecodeError) as error:
            words = f"it does not say how the stream is made ({question}): {one_line(error)}"
            raise NoAnswer(words) from None
        self._atomic = info.config is not None and info.config.allow_atomic
        return await doubts_of(self._stream, info, self._remembered)

    async def _publish_waiting(self) -> None:
        most = self._stream.at_once
        items, self._waiting = self._waiting[:most], self._waiting[most:]
        words = "given up before there was an acknowledgement"  # if this task is cancelled
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._connection.tried.wait(), self._stream.timeout)
            ready = [item for item in items if self._can_leave(item)]
            if not (len(ready) > 1 and self._atomic and await self._stored_together(ready)):
                await self._publish_each(ready)
        except NatsError as error:
            words = f"no connection: {self._connection.trouble or one_line(error)}"
        finally:  # whoever publishes, does it for the others
            for item in items:
                item.decide(NoAnswer(words))

    def _can_leave(self, item: _Item) -> bool:
        connection = self._connection
        if not connection.is_up:
            item.decide(NoAnswer(f"no connection: {connection.trouble or 'it has just broken'}"))
            return False
        size, most = len(item.body) + _HEAD, connection.max_payload
        if size > most:  # they would end the connection
            words = f"too large: {size} bytes, and the servers take {most} (their max_payload)"
            item.decide(NotTaken(words))
            return False
        return True

    async def _stored_together(self, items: Sequence[_Item]) -> bool:
        """Publishes items as a batch. False if the stream has refused it, and stored none."""
        *others, last = items
        of_batch = {"Nats-Batch-Id": uuid.uuid4().hex}
        for n, item in enumerate(others, 1):
            headers = {**item.headers, **of_batch, "Nats-Batch-Sequence": str(n)}
            await self._connection.publish(item.subject, item.body, headers)
        of_batch |= {"Nats-Batch-Sequence": str(len(items)), "Nats-Batch-Commit": "1"}
        request = self._connection.request
        future = await request(last.subject, last.body, {**last.headers, **of_batch})
        (ack,) = await self._acknowledged([future])
        if isinstance(ack, Ack) and ack.error is not None:
            self._atomic &= ack.error.err_code != _NO_BATCHES
            log.debug("batch refused", target=self._stream.name, error=str(ack.error))
            return False
        for n, item in enumerate(items, 1):
            if isinstance(ack, Ack):
                seq = ack.seq - len(items) + n
                item.decide(self._verdict(msgspec.structs.replace(ack, seq=seq), item))
            else:
                item.decide(ack)
        return True

    async def _publish_each(self, items: Sequence[_Item]) -> None:
        """Publishes items one behind the other, and waits for all acknowledgements together."""
        futures = []
        try:
            for item in items:
                request = self._connection.request(item.subject, item.body, item.headers)
                futures.append(await request)
        finally:
            acks = await self._acknowledged(futures)
            for item, ack in zip(items, acks, strict=False):  # the others did not leave
                item.decide(self._verdict(ack, item))

    async def _acknowledged(self, futures: Sequence[asyncio.Future[Ack]]) -> list[Ack | NotTaken]:
        """Returns the acknowledgements: all that come until the time is up."""
        try:
            if futures:
                await asyncio.wait(futures, timeout=self._stream.timeout)
        finally:
            for future in futures:
                future.cancel()
        return [self._heard(future) for future in futures]

    def _heard(self, future: asyncio.Future[Ack]) -> Ack | NotTaken:
        if future.cancelled():
            trouble = self._connection.trouble
            said = f"; the server says: {trouble}" if trouble else ""
            within = f"{self._stream.timeout:g} s (timeout)"
            return NoAnswer(f"no acknowledgement within {within}{said}")
        error = future.exception()
        return error if isinstance(error, NotTaken) else future.result()

    def _verdict(self, ack: Ack | NotTaken, item: _Item) -> str | NotTaken:
        name = self._stream.stream
        if isinstance(ack, NotTaken):
            return ack
        if ack.unheard:
            return NotTaken(f"no stream takes {item.subject}: add it to the subjects of {name}")
        if ack.error is not None or ack.stream != name:
            return NotTaken(f"refused: {ack.error or f'it is in the stream {ack.stream}'}")
        return f"stored in {name} as {ack.seq}{' before' if ack.duplicate else ''}"

"""A month of a small business, for pictures of the console."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from receiver.actions import Reply, Send, Subscribe, Unsubscribe
from receiver.events import (
    DeliveryReport,
    EventType,
    Message,
    Status,
    SubscriptionChange,
    encode_data,
)
from receiver.outgoing import Sent
from receiver.store import (
    Attempt,
    Failure,
    HandlerActions,
    ReplyState,
    Report,
    Store,
    StoredPush,
    messages,
    to_micros,
)
from receiver.text.keywords import keyword
from tests.store.rows import intake, opened

_DAYS = 30
_TEXTS = ("GAME", "GAME on", "game", "JOIN", "NEWS", "BALANCE", "BALANCE please", "hello", "thanks")
_REPLIES = {"GAME": "Welcome", "NEWS": "Today: the bridge is open.", "BALANCE": "KES 120"}
_NETWORKS = ("safaricom", "safaricom", "safaricom", "airtel", "telkom")
_FATES = (*[Status.DELIVERED] * 9, Status.FAILED, Status.SENT)


class Scene:
    """Fills a store, day by day."""

    def __init__(self, store: Store, end: datetime) -> None:
        self.store = store
        self.now = end - timedelta(days=_DAYS)
        self.random = random.Random(7)
        self.members: list[str] = []
        self.number = 0

    async def play(self, end: datetime) -> None:
        """Lets the days pass until the end."""
        while self.now < end:
            busy = 1 if 6 <= self.now.hour < 20 else 5
            self.now += timedelta(minutes=busy * self.random.randint(5, 60))
            if self.now < end:
                await self.random.choice((self.write, self.write, self.move, self.send))()

    async def write(self) -> None:
        """Somebody writes."""
        text = self.random.choice(_TEXTS)
        word = keyword(text)
        said = Message(
            external_id=str(self.number),
            from_=self.person(),
            to="22915",
            text=text,
            keyword=word,
            network=self.random.choice(_NETWORKS),
        )
        reply = _REPLIES.get(word or "")
        await self.store.take(
            self.event(
                EventType.MESSAGE_RECEIVED, said, said.from_, Reply(reply) if reply else None
            )
        )

    async def move(self) -> None:
        """Somebody joins, or leaves."""
        leaves = len(self.members) > 5 and self.random.random() < 0.35
        who = (
            self.members.pop(self.random.randrange(len(self.members))) if leaves else self.person()
        )
        if not leaves:
            self.members.append(who)
        service = self.random.choice(("44", "44", "45"))
        about: dict[str, Any] = {
            "msisdn": who,
            "short_code": "22915",
            "service_id": service,
            "keyword": "GAME",
        }
        kind = "DEACTIVATED" if leaves else "ACTIVATED"
        action = Unsubscribe(**about) if leaves else Subscribe(**about)
        pushed = self.event(EventType[f"SUBSCRIPTION_{kind}"], SubscriptionChange(**about), who)
        done = HandlerActions(handler="subscriptions.note", actions=(action,))
        await self.store.take(msgspec.structs.replace(pushed, handler_actions=(done,)))

    async def send(self) -> None:
        """A message is sent, and its report comes."""
        wish = Send(to=self.person(), text="Your order is ready.", source="tilil", sender="22915")
        id_, now = await self.store.add_message(wish, self.now), to_micros(self.now)
        await self.store.run(messages.begin, [Attempt(id_, wish.to, sender="22915")], now, 1)
        fate = self.random.choice(_FATES)
        if fate is Status.FAILED:
            why = Failure("the number is not in use", Status.REJECTED, "1003")
            await self.store.run(messages.kill, id_, now, why)
            return
        taken = Sent(status=Status.SENT, message_id=f"m{id_}", cost="KES 0.80")
        await self.store.run(messages.sent, id_, now, taken)
        if fate is Status.DELIVERED:
            self.now += timedelta(seconds=self.random.randint(2, 90))
            data = DeliveryReport(
                message_id=f"m{id_}",
                status=fate,
                network=self.random.choice(_NETWORKS),
                raw_status="DeliveredToTerminal",
            )
            pushed = self.event(EventType.DELIVERY_UPDATED, data, wish.to)
            heard = Report(message_id=f"m{id_}", status=fate)
            await self.store.take(msgspec.structs.replace(pushed, report=heard))

    def event(
        self,
        type_: EventType,
        data: Message | SubscriptionChange | DeliveryReport,
        who: str,
        reply: Reply | None = None,
    ) -> StoredPush:
        """An event of now."""
        self.number += 1
        pushed = intake(
            self.store,
            f"scene-{self.number}",
            subject=who,
            time=self.now,
            received_at=self.now,
            reply=reply,
            state=ReplyState.GIVEN if reply else ReplyState.NONE,
        )
        row = msgspec.structs.replace(pushed.row, type=str(type_), data=encode_data(data))
        return msgspec.structs.replace(pushed, row=row)

    def person(self) -> str:
        """One of some hundred people."""
        return f"+2547{self.random.randint(10, 29)}4{self.random.randint(10000, 10009)}"


async def fill(folder: Path, end: datetime) -> None:
    """Fills the store of a folder."""
    async with opened(folder) as store:
        await Scene(store, end).play(end)

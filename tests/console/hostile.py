"""A store in which strangers filled every field that they can fill, with the worst they have.

Each text holds a number, a tag with a script, a formula and characters that turn a line around.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from receiver.actions import Flag, OptOut, Send, Subscribe
from receiver.errors import PushError
from receiver.events import DeliveryReport, EventType, Message, Status, encode_data
from receiver.outgoing import Schedule, Sent
from receiver.service.parts import Service
from receiver.store import (
    Failure,
    HandlerActions,
    Report,
    Store,
    StoredPush,
    campaigns,
    forwards,
    messages,
    quarantine,
    to_micros,
)
from receiver.store.jobs import by_operator
from receiver.store.tx import Tx
from tests.harness import NOW, TOKEN, delivery, inbound, subscription, take
from tests.store.rows import begin, fail, intake, opened, opted_out

#: The person, and a word that only texts hold.
PERSON = "+254793175666"
SECRET_WORD = "sesquipedalian"
TAG = "<script>alert(1)</script>"
#: In each text: what must neither run nor be seen by a viewer.
BAD = f"=1+1 {SECRET_WORD} 0793.175-666 {TAG}\"'><img src=x onerror=alert(2)>\u202e {PERSON}"
#: Where only characters of a name are kept, or a number is wanted.
_NAMES = (f"{TAG}{PERSON}", "'\"><b>0793 175 666", "=cmd|' /C calc'!A0 0793175666")
_LEAK = re.compile(r"7931756|17566\b")
_SEPARATORS = re.compile(r"[\s().\u00a0/-]")


def shows_number(text: str) -> bool:
    """True for a text that holds more of the person's number than `mask` leaves of it."""
    return _LEAK.search(_SEPARATORS.sub("", text)) is not None


async def fill(folder: Path) -> None:
    """Makes the store of a folder with records of every kind."""
    async with opened(folder) as store:
        await _events(store)
        await _messages(store)
        await _refused(store)
        await store.run(_campaign)
        await opted_out(store, OptOut(PERSON, BAD), NOW)


async def push(service: Service) -> None:
    """Has a service take what strangers send to its address."""
    headers = [(b"x-evil", BAD.encode()), (b"user-agent", TAG.encode())]
    for number, name in enumerate(_NAMES):
        fields = {"network_name": name, "service_id": name, "link_id": name, "mobile": name}
        await take(service, inbound(f"{number}{name}", BAD, **fields), headers=headers)
    for number, text in enumerate((f"STOP {BAD}", f"please {BAD} STOP", f"{PERSON} {TAG}", "STOP")):
        await take(service, inbound(f"w{number}", text, mobile=PERSON[1:], network_name=TAG))
    await take(service, subscription("activation", "20261119100000", mobile=PERSON[1:]))
    for fields in ({"shortcode": TAG}, {"service_id": _NAMES[0]}, {"update_type": BAD}):
        with suppress(PushError):
            one = {"mobile": PERSON[1:], **fields}
            await take(service, subscription("activation", "20261119100000", **one))
    with suppress(PushError):
        await take(service, delivery(_NAMES[0], 1, dlrDesc=BAD, mobile=PERSON), token=TOKEN)
    with suppress(PushError):
        query = f"a={quote(BAD)}".encode()
        await take(service, BAD.encode(), token=TOKEN, headers=headers, query=query)


def _with(pushed: StoredPush, type_: EventType, data: Message | DeliveryReport) -> StoredPush:
    row = msgspec.structs.replace(pushed.row, type=str(type_), data=encode_data(data))
    return msgspec.structs.replace(pushed, row=row)


async def _events(store: Store) -> None:
    acts = (
        Flag(BAD),
        OptOut(PERSON, BAD),
        Send(to=PERSON, text=BAD, source="tilil"),
        Subscribe(msisdn=PERSON, short_code="22915", service_id="44", keyword=TAG),
    )
    done = HandlerActions(handler="mine.inline", actions=acts)
    first = await store.take(
        intake(store, BAD, subject=PERSON, text=BAD, jobs=("mine.one",), handler_actions=(done,))
    )
    await fail(store, first.jobs[0], None, f"{BAD} failed")
    for number, name in enumerate((*_NAMES, f"{TAG}\u202e")):
        data = Message(
            external_id=name,
            from_=name,
            to=name,
            text=BAD,
            keyword=name,
            network=name,
            service_id=name,
            link_id=name,
            fields={name: BAD},
        )
        pushed = intake(store, number, subject=PERSON)
        await store.take(_with(pushed, EventType.MESSAGE_RECEIVED, data))
        report = DeliveryReport(
            message_id=name,
            to=PERSON,
            sender=name,
            status=Status.FAILED,
            raw_status=BAD,
            raw_code=name,
            reason=BAD,
            network=name,
        )
        pushed = _with(intake(store, f"r{number}"), EventType.DELIVERY_UPDATED, report)
        heard = Report(message_id=name, status=Status.FAILED, text=BAD)
        await store.take(msgspec.structs.replace(pushed, report=heard))
    attempt = forwards.Attempted(
        job=first.jobs[0], event=first.seq, target="crm", handler="mine.one", answer=BAD
    )
    await store.run(forwards.failed, attempt, 0, to_micros(NOW), to_micros(NOW))


async def _messages(store: Store) -> None:
    now = to_micros(NOW)
    why = Failure(BAD, Status.FAILED, TAG)
    for fate in ("kill", "lose", "sent"):
        wish = Send(to=PERSON, text=f"{fate} {BAD}", source="tilil", sender="22915")
        id_ = await store.add_message(wish, NOW)
        await begin(store, id_, PERSON, sender="22915")
        if fate == "sent":
            taken = Sent(status=Status.SENT, message_id=f"{TAG}{id_}")
            await store.run(messages.sent, id_, now, taken, now)
        else:
            await store.run(messages.kill if fate == "kill" else messages.lose, id_, now, why)


def _campaign(tx: Tx) -> None:
    now = to_micros(NOW)
    id_ = campaigns.create(tx, by_operator(NOW), "operator", "tilil", Schedule(start_at=NOW))
    campaigns.add(tx, id_, [campaigns.Person(PERSON, BAD)], now)
    campaigns.change(tx, id_, "start", now)
    campaigns.change(tx, id_, "pause", now, why=BAD)


async def _refused(store: Store) -> None:
    pushed = intake(store, "q", text=BAD)
    await store.run(
        quarantine.add,
        source="tilil",
        authenticated=True,
        outcome="malformed",
        reason=BAD,
        received_at=NOW,
        client="192.0.2.1",
        request=pushed.row.request,
        max_rows=9,
        max_bytes=99999,
    )

"""Messages: sent once, joined to their reports, forward only."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from functools import reduce
from itertools import count
from pathlib import Path

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from receiver.actions import Send
from receiver.config import StoreAddress
from receiver.events import DeliveryReport, EventType, Status, advance, encode_data
from receiver.handlers import OptOut, Reply
from receiver.outgoing import Sent
from receiver.store import (
    REVIVED,
    Attempt,
    Failure,
    ReplyState,
    Report,
    Store,
    StoredMessage,
    StoredPush,
    links,
    message_reports,
    messages,
    open_store,
    to_micros,
)
from receiver.store.engine.sqlite.schema import migrations
from tests.examples import examples
from tests.harness import NOW
from tests.store.rows import PERSON, intake, opened, opted_out

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
MICROS_A_DAY = 86_400_000_000
WISH = Send(source="tilil", to=PERSON, text="karibu")
_numbers = count()


async def begin(store: Store, message: int, now: datetime = NOW) -> Failure | None:
    """Begins one message."""
    (why,) = await store.run(
        messages.begin, [Attempt(message, PERSON)], to_micros(now), MICROS_A_DAY
    )
    return why


async def the(store: Store, message: int) -> StoredMessage:
    """The message with this id."""
    (found,) = await store.reader.messages.find(id_=message)
    return found


async def due(store: Store, now: datetime) -> list[int]:
    """The messages of Tilil that may be sent by then."""
    found = await store.reader.work.due("send", "tilil", now, limit=9)
    return [work.message.id for work in found if work.message]


async def send(store: Store, wish: Send = WISH, id_: str | None = "m-1") -> int:
    """A message that the provider took under this id; None: without an answer."""
    message = await store.add_message(wish, NOW)
    assert await begin(store, message) is None
    if id_ is None:
        await store.run(
            messages.lose, message, to_micros(NOW), Failure("no answer", Status.UNKNOWN)
        )
    else:
        await store.run(
            messages.sent, message, to_micros(NOW), Sent(message_id=id_, status=Status.QUEUED)
        )
    return message


def report(
    store: Store,
    id_: str,
    status: Status,
    *,
    to: str | None = None,
    at: datetime = NOW,
    text: str | None = None,
    foreign_ids: bool = False,
    link_invalid: bool = False,
) -> StoredPush:
    """A delivery report to store."""
    data = DeliveryReport(message_id=id_, to=to, status=status)
    made = intake(store, next(_numbers), subject=to, received_at=at)
    row = msgspec.structs.replace(
        made.row, type=str(EventType.DELIVERY_UPDATED), data=encode_data(data)
    )
    told = Report(
        message_id=id_, status=status, text=text, foreign_ids=foreign_ids, link_invalid=link_invalid
    )
    return msgspec.structs.replace(made, row=row, report=told)


# Sending


async def test_a_message_waits_with_its_parts_counted(address: StoreAddress) -> None:
    """GSM-7 holds 160 characters, one character outside of it makes them 70."""
    async with opened(address) as store:
        plain = await store.add_message(WISH, NOW)
        wide = await store.add_message(
            msgspec.structs.replace(WISH, text="ü" * 100 + "ő" * 71), NOW
        )
        first, second = await the(store, plain), await the(store, wide)
        assert (first.state, first.status, first.handler) == ("waiting", "queued", "operator")
        assert (first.encoding, first.parts) == ("GSM-7", 1)
        assert (second.encoding, second.parts) == ("UCS-2", 3)


async def test_messages_that_end_together_are_stored_as_alone(address: StoreAddress) -> None:
    """What is another's, or has ended, stays as it is; each report joins its own message."""
    async with opened(address) as store:
        made = [await store.add_message(WISH, NOW) for _ in range(4)]
        attempts = [Attempt(message, PERSON) for message in made]
        await store.run(messages.begin, attempts[:3], to_micros(NOW), MICROS_A_DAY, 1)
        await store.run(messages.begin, attempts[3:], to_micros(NOW), MICROS_A_DAY, 2)
        await store.take(report(store, "m-1", Status.DELIVERED))
        at = to_micros(NOW)
        ends = [
            messages.Outcome(made[0], Sent(message_id="m-0", status=Status.SENT), at, 1),
            messages.Outcome(made[1], Sent(message_id="m-1", status=Status.SENT), at, 1),
            messages.Outcome(made[2], Failure("no", Status.REJECTED), at, 1),
            messages.Outcome(made[3], Sent(message_id="m-3", status=Status.SENT), at, 1),
            messages.Outcome(made[0], Sent(message_id="again", status=Status.SENT), at, 1),
        ]
        await store.run(messages.settle, ends)
        found = [await the(store, message) for message in made]
        assert [(each.state, each.status, each.provider_id) for each in found] == [
            ("sent", "sent", "m-0"),
            ("sent", "delivered", "m-1"),
            ("dead", "rejected", None),
            ("sending", "queued", None),
        ]


async def test_a_message_begins_once(address: StoreAddress) -> None:
    """Whoever comes second, or comes back for one that is sent, is told that it is gone."""
    async with opened(address) as store:
        message = await store.add_message(WISH, NOW)
        both = [Attempt(message, PERSON)] * 2
        first, second = await store.run(messages.begin, both, to_micros(NOW), MICROS_A_DAY)
        assert first is None
        assert second is not None
        await store.run(
            messages.sent, message, to_micros(NOW), Sent(message_id="1", status=Status.SENT)
        )
        assert await begin(store, message) is not None
        assert (await the(store, message)).attempts == 1


async def test_what_the_provider_said_is_kept(address: StoreAddress) -> None:
    """Its id, its count of parts, cost and balance; the job is done, and one asks if need be."""
    async with opened(address) as store:
        message = await store.add_message(WISH, NOW)
        await begin(store, message)
        taken = Sent(message_id="7", status=Status.SENT, parts=2, cost="0.8", balance="91.2")
        await store.run(messages.sent, message, to_micros(NOW), taken, to_micros(NOW + DAY))
        found = await the(store, message)
        assert (found.state, found.status, found.provider_id) == ("sent", "sent", "7")
        assert (found.parts, found.cost, found.balance) == (2, "0.8", "91.2")
        (job,) = await store.reader.jobs()
        assert (job.kind, job.message, job.due_at) == ("poll", message, NOW + DAY)


async def test_who_opted_out_gets_nothing(address: StoreAddress) -> None:
    """Not even what was asked for before; only the confirmation of the opt-out itself passes."""
    async with opened(address) as store:
        message = await store.add_message(WISH, NOW)
        confirmation = Reply("you are out", even_if_opted_out=True)
        await store.take(intake(store, 1, reply=confirmation, reply_in_answer=False))
        confirming = message + 1
        await opted_out(store, OptOut(PERSON, "STOP"), NOW)
        assert await begin(store, message) is not None
        assert await begin(store, confirming) is None
        found = await the(store, message)
        assert (found.state, found.status) == ("dead", "rejected")
        assert found.error == "the person has opted out"


async def test_a_message_that_was_certainly_not_sent_waits_again(address: StoreAddress) -> None:
    """With the reason, and until it is due; a dead one waits again when a person says so."""
    async with opened(address) as store:
        message = await store.add_message(WISH, NOW)
        await begin(store, message)
        why = Failure("too much", Status.QUEUED, "429")
        await store.run(messages.put_off, message, to_micros(NOW), to_micros(NOW + DAY), why)
        found = await the(store, message)
        assert (found.state, found.code, found.due_at) == ("waiting", "429", NOW + DAY)
        assert await due(store, NOW) == []
        assert await due(store, NOW + DAY) == [message]
        await store.run(
            messages.kill, message, to_micros(NOW), Failure("no credit", Status.REJECTED)
        )
        assert await due(store, NOW + DAY) == []
        assert await store.revive(None, NOW) == 1
        assert await due(store, NOW) == [message]
        assert (await the(store, message)).status == "queued"


async def test_a_retry_leaves_history_as_it_was(address: StoreAddress) -> None:
    """When a message and its job were made stays; it is tried for its whole time anew."""
    async with opened(address) as store:
        message = await store.add_message(WISH, NOW)
        await begin(store, message)
        await store.run(messages.kill, message, to_micros(NOW), Failure("no credit"))
        assert await store.revive(None, NOW + DAY) == 1
        assert (await the(store, message)).created_at == NOW
        [job] = await store.reader.jobs()
        assert job.created_at == NOW
        assert await store.reader.work.sending_since(message) == NOW + DAY
        [work] = await store.reader.work.due("send", "tilil", NOW + DAY, limit=1)
        assert work.since == NOW + DAY


async def test_what_was_under_way_when_the_process_ended_is_unknown(address: StoreAddress) -> None:
    """It is not sent again by itself, except from sources that would rather send twice."""
    async with opened(address) as store:
        lost = await store.add_message(WISH, NOW)
        again = await store.add_message(msgspec.structs.replace(WISH, source="other"), NOW)
        for message in (lost, again):
            await begin(store, message)
    async with opened(address) as store:
        assert await store.run(messages.recover, to_micros(NOW), ["other"]) == 2
        found = await the(store, lost)
        assert (found.state, found.status) == ("unknown", "unknown")
        assert (await the(store, again)).state == "waiting"
        assert [job.message for job in await store.reader.jobs()] == [again]


async def test_a_long_text_becomes_several_messages(address: StoreAddress) -> None:
    """Each with its own record, for the same person, asked for by the same."""
    async with opened(address) as store:
        message = await store.add_message(WISH, NOW)
        await store.run(messages.split, message, to_micros(NOW), ["one", "two", "three"])
        found = await store.reader.messages.find()
        assert [m.text for m in reversed(found)] == ["one", "two", "three"]
        assert {(m.to, m.source, m.handler) for m in found} == {(PERSON, "tilil", "operator")}
        assert len(await store.reader.jobs(kind="send", state="due")) == 3


# link_ids


async def test_a_link_id_is_good_once(address: StoreAddress) -> None:
    """For the message that took it, also when that is tried again, and for no other."""
    linked = msgspec.structs.replace(WISH, link_id="L1")
    async with opened(address) as store:
        first, second = [await store.add_message(linked, NOW) for _ in range(2)]
        assert await begin(store, first) is None
        await store.run(messages.put_off, first, to_micros(NOW), to_micros(NOW), Failure("busy"))
        assert await begin(store, first) is None
        why = await begin(store, second)
        assert why is not None
        assert why.error == f"link_id L1 was used by message {first}"
        assert (await the(store, second)).state == "dead"


async def test_a_link_id_expires_with_the_message_that_brought_it(address: StoreAddress) -> None:
    """A late reply is as old as its event, not as the decision to send it."""
    async with opened(address) as store:
        pushed = intake(
            store, 1, reply=Reply("karibu"), reply_in_answer=False, state=ReplyState.GIVEN
        )
        await store.take(pushed)
        (message,) = await store.reader.messages.find()
        assert message.link_id == "link-1"
        why = await begin(store, message.id, NOW + DAY + timedelta(seconds=1))
        assert why is not None
        assert why.status is Status.EXPIRED


@pytest.mark.parametrize("told_by", ["report", "refusal"])
async def test_a_link_id_that_the_provider_calls_invalid_is_dead(
    address: StoreAddress, told_by: str
) -> None:
    """Also for the message that it was used for."""
    linked = msgspec.structs.replace(WISH, link_id="L1")
    async with opened(address) as store:
        message = await send(store, linked)
        if told_by == "report":
            await store.take(report(store, "m-1", Status.FAILED, link_invalid=True))
        else:
            await store.run(links.mark_link, message, to_micros(NOW))
        why = await begin(store, await store.add_message(linked, NOW))
        assert why is not None
        assert why.error == "the provider called link_id L1 invalid"


# Reports


@pytest.mark.parametrize("reported", ["M-00aB", " m-00AB", "000M-00ab"])
async def test_reports_find_their_message(address: StoreAddress, reported: str) -> None:
    """By the provider's id, whatever it did to its case and leading zeros."""
    async with opened(address) as store:
        message = await send(store, id_="0m-00Ab")
        taken = await store.take(report(store, reported, Status.DELIVERED))
        assert (await the(store, message)).status is Status.DELIVERED
        (joined,) = await store.reader.messages.reports(message)
        assert joined.event == store.ids.text(taken.seq)


@pytest.mark.parametrize("early", [True, False], ids=["before the answer", "after it"])
async def test_a_report_about_another_person_changes_nothing(
    address: StoreAddress, *, early: bool
) -> None:
    """A gateway that counts from 1 again: nobody's message is delivered by anybody else's."""
    async with opened(address) as store:
        others = report(store, "m-1", Status.DELIVERED, to="+254711111111")
        if early:
            await store.take(others)
        message = await send(store, msgspec.structs.replace(WISH, link_id="link"))
        if not early:
            await store.take(others)
        assert (await the(store, message)).status is Status.QUEUED
        assert await store.reader.messages.reports(message) == []
        await store.take(report(store, "m-1", Status.FAILED, to=PERSON))
        assert (await the(store, message)).status is Status.FAILED


async def test_of_two_messages_with_one_id_the_newer_is_meant(address: StoreAddress) -> None:
    """Reports that name nobody are about what was sent last under their id."""
    async with opened(address) as store:
        first, second = await send(store), await send(store)
        await store.take(report(store, "m-1", Status.DELIVERED))
        assert (await the(store, first)).status is Status.QUEUED
        assert (await the(store, second)).status is Status.DELIVERED


async def test_a_report_that_came_before_the_answer_is_joined(address: StoreAddress) -> None:
    """For 72 hours; older ones were about something else."""
    async with opened(address) as store:
        early, old = [await store.add_message(WISH, NOW) for _ in range(2)]
        await store.take(report(store, "old", Status.DELIVERED, at=NOW - timedelta(hours=73)))
        await store.take(report(store, "early", Status.DELIVERED, at=NOW - timedelta(hours=71)))
        for message, id_ in ((early, "early"), (old, "old")):
            await begin(store, message)
            accepted = Sent(message_id=id_, status=Status.QUEUED)
            await store.run(messages.sent, message, to_micros(NOW), accepted)
        assert (await the(store, early)).status is Status.DELIVERED
        assert (await the(store, old)).status is Status.QUEUED


S, D, F, U = Status.SENT, Status.DELIVERED, Status.FAILED, Status.UNDELIVERED


@pytest.mark.parametrize(
    ("told", "statuses"),
    [
        # The part that a report is about, and the status of the message after it.
        ([(1, S), (2, S), (3, S)], ["queued", "queued", "sent"]),
        ([(1, D), (2, D), (3, S), (3, D)], ["queued", "queued", "sent", "delivered"]),
        ([(2, D), (2, S), (1, D), (3, D)], ["queued", "queued", "queued", "delivered"]),
        ([(1, D), (2, U), (3, F)], ["queued", "undelivered", "undelivered"]),
        ([(3, F), (1, D), (2, D), (3, D)], ["failed", "failed", "failed", "delivered"]),
        ([(1, Status.UNKNOWN), (2, D), (3, D)], ["queued", "queued", "queued"]),
    ],
)
@pytest.mark.parametrize("early", [0, 2], ids=["after the answer", "some before it"])
async def test_a_message_is_as_far_as_the_least_of_its_parts(
    address: StoreAddress, told: list[tuple[int, Status]], statuses: list[str], early: int
) -> None:
    """And fails with any of them; all of them together may still be delivered."""
    parts = Sent(message_id="01", further_ids=("p2", "P3"))
    ids = {1: "1", 2: "P2", 3: "p3"}
    async with opened(address) as store:
        message = await store.add_message(WISH, NOW)
        await begin(store, message)
        for part, status in told[:early]:
            await store.take(report(store, ids[part], status))
        await store.run(messages.sent, message, to_micros(NOW), parts)
        found = [(await the(store, message)).status.value]
        for part, status in told[early:]:
            await store.take(report(store, ids[part], status))
            found.append((await the(store, message)).status.value)
        assert found[-1] == statuses[-1]
        assert found == ([*statuses[early - 1 :]] if early else ["queued", *statuses])
        sent = await the(store, message)
        assert (sent.provider_id, sent.parts) == ("01,p2,P3", 3)
        assert len(await store.reader.messages.reports(message)) == len(told)


async def test_an_id_may_have_a_comma(address: StoreAddress) -> None:
    """It is that of one message, though it looks like those of two parts."""
    async with opened(address) as store:
        message = await send(store, id_="a,b")
        await store.take(report(store, "A,B", Status.DELIVERED))
        assert (await the(store, message)).status is Status.DELIVERED


async def test_reports_of_nothing_of_ours_are_let_go(address: StoreAddress) -> None:
    """After 72 hours; those of our messages stay, and so do all events."""
    async with opened(address) as store:
        message = await send(store)
        await store.take(report(store, "m-1", Status.SENT))
        await store.take(report(store, "somebody else's", Status.SENT))
        assert await store.run(message_reports.tidy, to_micros(NOW + timedelta(hours=71))) == 0
        assert await store.run(message_reports.tidy, to_micros(NOW + timedelta(hours=73))) == 1
        assert len(await store.reader.messages.reports(message)) == 1
        assert len([event async for event in store.reader.events()]) == 2


async def test_a_report_settles_what_had_no_answer(address: StoreAddress) -> None:
    """If it can be about one message only: it is sent, and its id is known from then on."""
    async with opened(address) as store:
        message = await send(store, id_=None)
        await store.take(report(store, "new", Status.SENT, to=PERSON))
        found = await the(store, message)
        assert (found.state, found.status, found.provider_id) == ("sent", "sent", "new")
        await store.take(report(store, "NEW", Status.DELIVERED))
        assert (await the(store, message)).status is Status.DELIVERED


async def test_a_report_that_may_be_about_two_messages_is_about_none(address: StoreAddress) -> None:
    """A guess would call a message delivered that never was."""
    async with opened(address) as store:
        both = [await send(store, id_=None) for _ in range(2)]
        await store.take(report(store, "new", Status.DELIVERED, to=PERSON))
        assert [(await the(store, message)).state for message in both] == ["unknown"] * 2


async def test_reports_with_ids_of_their_own_are_joined_by_person_and_text(
    address: StoreAddress,
) -> None:
    """TalkNTalk's webhooks have another id than its send API: the text tells, then the order."""
    async with opened(address) as store:
        texts = ["one", "two", "one"]
        messages = [
            await send(store, msgspec.structs.replace(WISH, text=text), f"uuid-{n}")
            for n, text in enumerate(texts)
        ]
        for id_, text in (("9", "two"), ("10", "one"), ("11", "one"), ("12", "none")):
            told = report(store, id_, Status.DELIVERED, to=PERSON, text=text, foreign_ids=True)
            await store.take(told)
        await store.take(report(store, "9", Status.FAILED, to=PERSON, text="two", foreign_ids=True))
        found = [await store.reader.messages.reports(message) for message in messages]
        assert [len(reports) for reports in found] == [1, 2, 1]
        assert [(await the(store, m)).status for m in messages] == ["delivered"] * 3


async def test_a_delivered_message_was_sent_also_without_an_answer(address: StoreAddress) -> None:
    """A report that overtakes the time-out of the answer is not undone by it."""
    async with opened(address) as store:
        message = await store.add_message(WISH, NOW)
        await begin(store, message)
        told = report(store, "9", Status.DELIVERED, to=PERSON, text="karibu", foreign_ids=True)
        await store.take(told)
        await store.run(
            messages.lose, message, to_micros(NOW), Failure("no answer", Status.UNKNOWN)
        )
        found = await the(store, message)
        assert (found.state, found.status) == ("sent", "delivered")


async def test_all_dead_letters_wait_again(address: StoreAddress) -> None:
    """However many there are; they are revived in pieces. What was waiting is not among them."""
    async with opened(address) as store:
        made = await asyncio.gather(*[store.add_message(WISH, NOW) for _ in range(2 * REVIVED + 2)])
        why = Failure("no", Status.FAILED)
        kills = [store.run(messages.kill, message, to_micros(NOW), why) for message in made[1:]]
        await asyncio.gather(*kills)
        dead = [job.message async for job in store.reader.every_job(state="dead")]
        assert dead == made[1:]
        assert await store.revive(None, NOW) == len(dead)
        states = {(await the(store, message)).state for message in made}
        assert states == {"waiting"}
        assert await store.revive(None, NOW) == 0


STEPS = st.lists(st.sampled_from(Status), min_size=1, max_size=7)


IDS = count(1)  # of messages at the provider: the examples share a store


@examples(60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(reported=STEPS, answered=st.integers(0, 7), status=st.sampled_from(Status))
def test_the_status_moves_forward_only(
    address: StoreAddress, reported: list[Status], answered: int, status: Status
) -> None:
    """Whatever the order of the reports, and whenever the answer to sending comes between them.

    The highest rank counts, delivered beats every failure, and of the failures the first stays.
    """

    async def play() -> None:
        id_ = str(next(IDS))
        async with opened(address) as store:
            message = await store.add_message(WISH, NOW)
            await begin(store, message)
            answer = min(answered, len(reported))
            seen: list[Status] = []
            for number in range(len(reported) + 1):
                if number == answer:
                    accepted = Sent(message_id=id_, status=status)
                    await store.run(messages.sent, message, to_micros(NOW), accepted)
                    # What came before it is joined after it.
                    seen = [status, *seen]
                if number < len(reported):
                    await store.take(report(store, id_, reported[number]))
                    seen.append(reported[number])
                if number >= answer:
                    expected = reduce(advance, seen, Status.QUEUED)
                    assert (await the(store, message)).status is expected
            final = (await the(store, message)).status
            everything = [Status.QUEUED, status, *reported]
            assert final.rank == max(each.rank for each in everything)
            failures = [each for each in seen if each.rank == Status.FAILED.rank]
            if final.rank == Status.FAILED.rank:
                assert final is failures[0]

    anyio.run(play)


# Upgrade


async def test_what_the_first_schema_wanted_to_send_becomes_messages(tmp_path: Path) -> None:
    """Late replies that version 1 kept as jobs are sent by version 2, or shown as dead."""
    path = tmp_path / "receiver.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(migrations()[0])
        db.execute("PRAGMA user_version = 1")
        db.execute(f"PRAGMA application_id = {0x534D5352}")
        payload = {"type": "reply", "source": "tilil", "to": PERSON, "text": "karibu",
                   "sender": "22915", "service_id": "32", "link_id": "L1"}  # fmt: skip
        for state in ("due", "dead"):
            db.execute(
                "INSERT INTO jobs (kind, state, handler, payload, due_at, created_at)"
                " VALUES ('send', ?, 'mine.rule', ?, 5, 5)",
                (state, msgspec.json.encode(payload)),
            )
    db.close()
    async with open_store(path) as store:
        dead, waiting = await store.reader.messages.find()
        assert (waiting.to, waiting.text, waiting.link_id) == (PERSON, "karibu", "L1")
        assert (waiting.state, dead.state) == ("waiting", "dead")
        assert await due(store, NOW) == [waiting.id]
        assert to_micros(waiting.created_at) == 5


async def test_what_was_retried_before_has_its_time_still(tmp_path: Path) -> None:
    """Earlier programs moved the time of a message that was retried: it does not expire now."""
    path = tmp_path / "receiver.db"
    scripts = migrations()
    before = next(n for n, script in enumerate(scripts) if "TABLE forward_attempts" in script)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.create_function("digested_key", 1, str, deterministic=True)
        db.executescript(f"{''.join(scripts[:before])} PRAGMA user_version = {before};")
        db.execute(f"PRAGMA application_id = {0x534D5352}")
        columns = "id, source, handler, msisdn, text, encoding, parts, created_at, updated_at"
        values = f"1, 'tilil', 'operator', '{PERSON}', 'karibu', 'GSM-7', 1, 9, 9"
        db.execute(f"INSERT INTO messages ({columns}) VALUES ({values})")
        db.execute(
            "INSERT INTO jobs (kind, handler, source, message, due_at, created_at)"
            " VALUES ('send', 'operator', 'tilil', 1, 9, 5)"
        )
    async with opened(tmp_path) as store:
        since = await store.reader.work.sending_since(1)
        assert since is not None
        assert to_micros(since) == 9
        [job] = await store.reader.jobs()
        assert to_micros(job.created_at) == 5

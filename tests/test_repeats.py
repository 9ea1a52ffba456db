"""A repeat is the same id, and the same person, kind and content; all else is an event of its own.

With the providers' own pushes, from socketless requests to the store, the loop guard on.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.service.parts import Service
from receiver.store import PurgeKind, StoredEvent, purges
from tests import stored
from tests.examples import examples
from tests.harness import (
    TOKEN,
    Clock,
    delivery,
    inbound,
    opened,
    settings,
    subscription,
    take,
    until_async,
    with_plugin,
)

pytestmark = pytest.mark.anyio

A, B, C = "254711000001", "254711000002", "254711000003"
TEN, ELEVEN = "20261120100000", "20261120110000"

#: Answers with the person and the text; one handler within the commit, one after it.
ECHO = """
from receiver.handlers import on_message

@on_message(keyword="LATE")
async def late(event, context):
    return f"{event.data.from_} late: {event.data.text}"

@on_message(inline=True)
def echo(event, context):
    if event.data.keyword != "LATE":
        return f"{event.data.from_}: {event.data.text}"
"""


def echoing(*shipped: str) -> dict[str, Any]:
    """A configuration in which everybody is told who they are and what they wrote."""
    return with_plugin(ECHO, *shipped, loop_guard={"enabled": True})


def guarded() -> dict[str, Any]:
    """The configuration of the tests with the loop guard on, as it is shipped."""
    return settings(loop_guard={"enabled": True})


async def say(service: Service, id_: object, person: str, text: str, **fields: object) -> str:
    """What somebody is told who writes to Tilil's short code."""
    answer = await take(service, inbound(id_, text, mobile=person, **fields))
    return str(json.loads(answer.body)["result_message"])


async def events(service: Service) -> list[StoredEvent]:
    """All events, oldest first."""
    found = [event async for event in service.store.reader.events(limit=1000)]
    return found[::-1]


async def notes(service: Service) -> list[str | None]:
    """What is noted of each event, without the id of another one in it."""
    return [event.note and event.note.partition(": event ")[0] for event in await events(service)]


async def purge(service: Service) -> None:
    """Lets go of all events."""
    await service.store.run(
        purges.drop, PurgeKind.EVENTS, [event.seq for event in await events(service)]
    )


def seen(what: str) -> str:
    """The note of an event that came under the id of another one."""
    return f"its id was seen before, with another {what}"


# Messages


async def test_the_id_of_another_person_is_an_event_of_its_own(tmp_path: Path) -> None:
    """Tilil's counter stands at 0: B gets no answer with the number and the text of A in it."""
    async with opened(tmp_path, echoing()) as service:
        for _ in range(2):
            assert await say(service, "0", A, "GAME secret") == f"+{A}: GAME secret"
            assert await say(service, "0", B, "GAME b") == f"+{B}: GAME b"
        assert [event.event.subject for event in await events(service)] == [f"+{A}", f"+{B}"]
        assert await notes(service) == [None, seen("person and text")]
        first, second = await events(service)
        assert second.note is not None
        assert second.note.endswith(f": event {first.event.id}")
        noted = [event.seq async for event in service.store.reader.events(noted=True)]
        assert noted == [second.seq]
        counts = service.intake.counts
        assert counts.outcomes == {("tilil", "stored"): 2, ("tilil", "repeat"): 2}
        assert counts.reused == {"tilil": 1}


async def test_a_stop_under_the_id_of_another_person_counts(tmp_path: Path) -> None:
    """Text-Connect's id=0: whoever wrote before, STOP is STOP."""

    def form(person: str, text: str) -> bytes:
        fields = {"source": person, "dest": "447786200000", "msg": text, "id": "0", "auth": TOKEN}
        return urlencode({**fields, "receivedts": "2026-11-20 09:00:00"}).encode()

    async with opened(tmp_path, guarded()) as service:
        await take(service, form("447700900001", "hello"), source="text-connect")
        for _ in range(2):
            await take(service, form("447700900002", "STOP"), source="text-connect")
        assert [entry.msisdn for entry in await service.store.reader.opt_outs.find()] == [
            "+447700900002"
        ]
        assert len(await events(service)) == 2


async def test_another_text_is_an_event_of_its_own(tmp_path: Path) -> None:
    """A gateway that counts from 1 again; the loop guard does not take it for a repeat either."""
    async with opened(tmp_path, echoing()) as service:
        for _ in range(3):
            for text in ("one", "two", "LATE three"):
                said = await say(service, 1, A, text)
                assert said == (f"+{A} late: {text}" if "LATE" in text else f"+{A}: {text}")
        assert await notes(service) == [None, seen("text"), seen("text")]
        assert await service.store.reader.jobs() == []


async def test_white_space_at_the_ends_makes_no_other_text(tmp_path: Path) -> None:
    """Gateways trim on the second try, or pad; within the text it is what was typed."""
    async with opened(tmp_path, echoing()) as service:
        for text in ("a b", " a b", "a b \r\n", "\u00a0a b\t"):
            assert await say(service, 1, A, text) == f"+{A}: a b"
        assert await say(service, 1, A, "a  b") == f"+{A}: a  b"
        assert len(await events(service)) == 2


@pytest.mark.parametrize("id_", ["0", "NULL", "none", "N/A", "-", "undefined", "Nil"])
async def test_an_id_that_is_none_tells_nothing(tmp_path: Path, id_: str) -> None:
    """The same person may say the same twice; a repeat has the provider's time of the first."""
    clock = Clock()
    async with opened(tmp_path, echoing(), clock) as service:
        for _ in range(2):
            for time in (TEN, ELEVEN):
                await say(service, id_, A, "hello", timestamp=time)
                clock.move(minutes=1)
        assert [f"{event.event.time:%H}" for event in await events(service)] == ["07", "08"]
        assert await notes(service) == [None, seen("time")]
        await purge(service)
        for time in (TEN, ELEVEN):
            await say(service, id_, A, "hello", timestamp=time)
        assert await events(service) == []


async def test_other_ids_tell_whatever_the_time(tmp_path: Path) -> None:
    """Some gateways stamp each try anew."""
    async with opened(tmp_path, echoing()) as service:
        for time in (TEN, ELEVEN):
            await say(service, "00", A, "hello", timestamp=time)
        assert len(await events(service)) == 1


# Known for ever


async def test_repeats_of_all_are_known_after_a_restart(tmp_path: Path) -> None:
    """Of the first and of those that came under its id."""
    said = [(A, "a"), (B, "b"), (A, "b"), (C, "LATE")]
    answers = []
    for _ in range(2):
        async with opened(tmp_path, echoing()) as service:
            answers.append([await say(service, 7, *one) for one in said])
            assert len(await events(service)) == len(said)
    assert answers[0] == answers[1]


async def test_repeats_of_purged_events_are_known(tmp_path: Path) -> None:
    """Of what was purged there are digests: it is known, and so is what differs from it."""
    async with opened(tmp_path, echoing()) as service:
        for person, text in ((A, "a"), (B, "b")):
            await say(service, 7, person, text)
        await purge(service)
        for person, text in ((A, "a "), (B, "b")):
            assert await say(service, 7, person, text) == ""
        assert await events(service) == []
        for person, text in ((B, "a"), (A, "c")):
            assert await say(service, 7, person, text) == f"+{person}: {text}"
        assert await notes(service) == [seen("person"), seen("text")]
    raw = (tmp_path / "receiver.db").read_bytes()
    assert b"GAME" not in raw


async def test_what_an_earlier_program_purged_is_equal(tmp_path: Path) -> None:
    """It left no digests, so there is only the id to go by."""
    async with opened(tmp_path, echoing()) as service:
        await say(service, 7, A, "a")
        await purge(service)
    stored.forget_digests(tmp_path / "receiver.db")
    async with opened(tmp_path, echoing()) as service:
        assert await say(service, 7, B, "b") == ""
        assert await events(service) == []


async def test_purged_rows_do_not_tell_whose_they_were(tmp_path: Path) -> None:
    """Two events of one person with one text leave nothing that is the same in both."""
    async with opened(tmp_path, echoing()) as service:
        for id_ in (1, 2):
            await say(service, id_, B, "x")
            await say(service, id_, A, "hello")
        await purge(service)
        rows = stored.purged(service.store.address)
        digests: list[object] = [data[at : at + 8] for _, data in rows for at in (0, 8)]
        digests += [part for key, _ in rows for part in key.split("#")[1:]]
        assert len(set(digests)) == len(digests) == 12


async def test_keys_go_after_those_that_were_made_of_them(tmp_path: Path) -> None:
    """While a later event stands under its key, a purged row stays: its place is not free."""
    async with opened(tmp_path, echoing()) as service:
        await say(service, 0, A, "a")
        await say(service, 0, B, "b")
        first, second = [event.seq for event in await events(service)]
        await service.store.run(purges.drop, PurgeKind.EVENTS, [first])
        assert await service.store.run(purges.drop, PurgeKind.KEYS, [first]) == {}
        assert await say(service, 0, B, "b") == f"+{B}: b"
        await service.store.run(purges.drop, PurgeKind.EVENTS, [second])
        assert await service.store.run(purges.drop, PurgeKind.KEYS, [first, second]) == {"keys": 2}


# Delivery reports


def callback(id_: str, status: str, to: str | None) -> bytes:
    """A callback of TSCONECT."""
    return json.dumps({"message_id": id_, "status": status, "to": to}).encode()


def webhook(id_: str, status: str, to: str | None) -> bytes:
    """A webhook of TalkNTalk."""
    return json.dumps({"data": {"id": id_, "status": status, "mobile": to}}).encode()


@pytest.mark.parametrize(("source", "body"), [("tsconect", callback), ("talkntalk", webhook)])
async def test_a_report_id_of_three_people_is_three_reports(
    tmp_path: Path, source: str, body: Any
) -> None:
    """Each person's, each status; a report that names nobody may be anybody's."""
    async with opened(tmp_path, guarded()) as service:
        for _ in range(2):
            for person in (A, B, C):
                for status in ("sent", "delivered"):
                    await take(service, body("5", status, person), source=source, token=TOKEN)
        await take(service, body("5", "SENT", None), source=source, token=TOKEN)
        found = [(event.event.subject, event.event.data.status) for event in await events(service)]  # type: ignore[union-attr] # all are reports
        assert found == [
            (f"+{who}", status) for who in (A, B, C) for status in ("sent", "delivered")
        ]
        assert await notes(service) == [None] * 2 + [seen("person")] * 4


async def test_who_was_named_once_need_not_be_again(tmp_path: Path) -> None:
    """Whichever comes first: with the person or without, purged or not."""
    async with opened(tmp_path, guarded()) as service:
        for id_, people in (("1", (A, None, A)), ("2", (None, A, None))):
            for person in people:
                await take(service, callback(id_, "sent", person), source="tsconect", token=TOKEN)
        assert len(await events(service)) == 2
        await purge(service)
        for id_ in ("1", "2"):
            for person in (A, None):
                await take(service, callback(id_, "sent", person), source="tsconect", token=TOKEN)
        assert await events(service) == []


async def test_reports_of_tilil_are_told_by_their_codes(tmp_path: Path) -> None:
    """They name nobody: the id and the code are all there is, and the echo is the first one's."""
    async with opened(tmp_path, guarded()) as service:
        echoes = set()
        for network in ("Safaricom", "Airtel"):
            for code in (1, 3):
                push = delivery("5", code, network=network)
                echoes.add((await take(service, push, token=TOKEN)).body)
        assert len(echoes) == len(await events(service)) == 2


async def test_ids_and_codes_that_run_together_are_two_reports(tmp_path: Path) -> None:
    """`a:1` with code 2 and `a` with code `1:2` have one key, and repeats of their own."""
    async with opened(tmp_path, guarded()) as service:
        echoes = [
            (await take(service, delivery(id_, status), token=TOKEN)).body  # type: ignore[arg-type] # what a gateway could send
            for _ in range(2)
            for id_, status in (("a:1", "2"), ("a", "1:2"))
        ]
        assert echoes[:2] == echoes[2:]
        assert echoes[0].startswith(b"OK;a:1;")
        assert echoes[1].startswith(b"OK;a;")
        assert await notes(service) == [None, seen("status")]


# Subscriptions


def untimed(update: str, person: str = A, **fields: object) -> bytes:
    """What Tilil pushes of a subscription, without a time."""
    return subscription(update, "", mobile=person, **fields)


def kinds(found: Sequence[StoredEvent]) -> list[str]:
    """Of subscriptions: activated, deactivated."""
    return [event.event.type.rpartition(".")[2] for event in found]


async def test_without_an_id_and_a_time_the_state_tells(tmp_path: Path) -> None:
    """A push is a repeat of the person's latest state; whoever comes, goes and comes again does."""
    clock = Clock()
    async with opened(tmp_path, guarded(), clock) as service:
        for update in ("activation", "deactivation", "activation"):
            for _ in range(3):
                await take(service, untimed(update))
                clock.move(seconds=1)
        assert kinds(await events(service)) == ["activated", "deactivated", "activated"]
        assert await notes(service) == [None] * 3
        (line,) = [line async for line in service.store.reader.subscriptions.find()]
        assert line.state == "active"
        assert service.intake.counts.reused == {}


async def test_states_of_others_and_other_services_are_their_own(tmp_path: Path) -> None:
    """The person, the service and the subscriber's reference are in the key."""
    async with opened(tmp_path, guarded()) as service:
        for _ in range(2):
            for fields in ({}, {"person": B}, {"service_id": "45"}, {"subscriber_ref": "9"}):
                await take(service, untimed("activation", **fields))
        assert len(await events(service)) == 4


async def test_states_are_known_when_their_events_are_purged(tmp_path: Path) -> None:
    """The latest one of them; also while some of them are there."""
    async with opened(tmp_path, guarded()) as service:
        for update in ("activation", "deactivation"):
            await take(service, untimed(update))
        first, second = [event.seq for event in await events(service)]
        for seq in (first, second):
            await service.store.run(purges.drop, PurgeKind.EVENTS, [seq])
            await take(service, untimed("deactivation"))
            assert len(await events(service)) == (seq == first)
        await take(service, untimed("activation"))
        assert kinds(await events(service)) == ["activated"]


async def test_who_left_by_stop_can_come_back(tmp_path: Path) -> None:
    """The network did not tell that the person left, so this is news, unless it comes at once."""
    clock = Clock()
    async with opened(tmp_path, guarded(), clock) as service:
        await take(service, untimed("activation"))
        await say(service, 1, A, "STOP", timestamp="20261120120500")
        clock.move(minutes=10)
        await take(service, untimed("activation"))  # tried again
        assert len(await events(service)) == 2
        clock.move(hours=1)
        for _ in range(2):
            await take(service, untimed("activation"))
        assert kinds(await events(service))[2:] == ["activated"]


async def test_all_of_it_in_one_commit(tmp_path: Path) -> None:
    """Pushes that wait for the same commit meet each other as they would have before it."""
    clock = Clock()
    async with opened(tmp_path, echoing("subscriptions"), clock) as service:
        said = [(1, A, "a"), (1, B, "b"), (1, A, "b"), (1, C, "LATE"), (1, C, "LATER")]
        turns = [await_one for one in said * 3 for await_one in (say(service, *one),)]
        pushes = [take(service, untimed(update)) for update in ("activation", "deactivation") * 2]
        answers = await asyncio.gather(*turns, *pushes)
        expected = [
            f"+{who} late: {text}" if text == "LATE" else f"+{who}: {text}" for _, who, text in said
        ]
        assert answers[: len(turns)] == expected * 3
        found = await events(service)
        assert len(found) == 5 + 4
        assert kinds(found[5:]) == ["activated", "deactivated"] * 2


# Answers


async def test_a_reply_that_was_withheld_keeps_both_notes(tmp_path: Path) -> None:
    """Who opted out is not answered under whatever id; the repeat in the same commit neither."""
    async with opened(tmp_path, echoing("opt_out")) as service:
        await say(service, 1, B, "STOP")
        answers = await asyncio.gather(
            *[say(service, 2, who, "hello") for who in (A, B, B, A, B)],
            *[say(service, 2, B, text) for text in ("LATE",) * 2],
        )
        assert answers == [f"+{A}: hello", "", "", f"+{A}: hello", "", "", ""]

        async def found() -> list[str | None] | None:
            both = await notes(service)
            return both if all(note and "withheld" in note for note in both[2:]) else None

        withheld = "reply withheld: the person has opted out"
        assert (await until_async(found, "noted"))[2:] == [
            f"{withheld}; {seen('person')}",
            f"{withheld}; {seen('person and text')}",
        ]


async def test_the_loop_guard_sees_two_that_answer_each_other_under_one_id(tmp_path: Path) -> None:
    """The same text again and again is held back, although the gateway's id is always 0."""
    clock = Clock()
    async with opened(tmp_path, echoing(), clock) as service:
        answers = []
        for n in range(5):
            answers.append(await say(service, 0, A, "I am away", timestamp=f"2026112012000{n}"))
            clock.move(seconds=1)
        assert answers == [f"+{A}: I am away", *[""] * 4]
        assert (await notes(service))[1] == (
            "reply held back: the same text came from this person just before; " + seen("time")
        )


async def test_the_loop_guard_goes_by_the_clock_of_the_arrival(tmp_path: Path) -> None:
    """After a clock that was ahead is set right, the same question is answered."""
    clock = Clock()
    async with opened(tmp_path, echoing(), clock) as service:
        clock.move(hours=3)
        assert await say(service, 1, A, "balance") == f"+{A}: balance"
        clock.move(hours=-2.5)
        assert await say(service, 2, A, "balance") == f"+{A}: balance"
        assert await say(service, 3, A, "balance") == ""


# Anything


pushes = st.tuples(
    st.sampled_from(["0", "1", "none"]),
    st.sampled_from([A, B]),
    st.sampled_from(["x", " x", "y", "LATE"]),
    st.sampled_from([TEN, ELEVEN]),
)
states = st.tuples(st.sampled_from(["activation", "deactivation"]), st.sampled_from([A, B]))
reports = st.tuples(
    st.sampled_from(["0", "1"]), st.sampled_from(["sent", "failed"]), st.sampled_from([A, B])
)


@examples(40)
@given(batches=st.lists(st.lists(pushes | states | reports, max_size=12), max_size=4))
def test_any_pushes_are_as_many_events_as_they_are(batches: list[list[Any]]) -> None:
    """Each id, person, kind and content once; every answer was made for whom it goes to."""

    async def try_it(folder: Path) -> None:
        distinct: set[Any] = set()
        latest: dict[str, str] = {}
        changes = 0
        raw = echoing("subscriptions")
        raw["loop_guard"] = {"enabled": False}
        for batch in batches:
            async with opened(folder, raw) as service:
                answers = []
                for one in batch:
                    if one[0].endswith("activation"):
                        update, person = one
                        changes += latest.get(person) != update
                        latest[person] = update
                        answers.append(take(service, untimed(update, person)))
                    elif len(one) == 3:
                        # Without a time of its own it has that of the clock, which stands still.
                        distinct.add(one)
                        answers.append(
                            take(service, callback(*one), source="tsconect", token=TOKEN)
                        )
                    else:
                        id_, person, text, time = one
                        distinct.add((id_, person, text.strip(), None if id_ == "1" else time))
                        answers.append(
                            take(service, inbound(id_, text, mobile=person, timestamp=time))
                        )
                bodies = [answer.body for answer in await asyncio.gather(*answers)]
                for one, body in zip(batch, bodies, strict=True):
                    if len(one) == 4:
                        said = json.loads(body)["result_message"]
                        assert said.startswith(f"+{one[1]}")
                        assert said.split(": ")[1].strip() == one[2].strip()
                    else:
                        assert b"+" not in body
                assert len(await events(service)) == len(distinct) + changes

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(try_it(Path(folder)))

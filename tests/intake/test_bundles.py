"""Pushes that tell several events: stored in one commit, each once, and answered once."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import Malformed, StoreUnavailable
from receiver.events import encode_data
from receiver.logs.requests import unlogged_entry
from receiver.service import quarantine
from receiver.service.parts import Service
from receiver.store import StoredBundle, StoredEvent
from receiver.store.commits import Commits
from tests.harness import Clock, delivery, inbound, opened, push_of, settings, take, until_async
from tests.intake.many import of, replying, serve_many
from tests.intake.test_intake import begun, go, patient, runs, sends

pytestmark = pytest.mark.anyio

ANN, BEN, CEE = "254726770792", "254711000222", "254733000333"
REPORTS = [delivery(f"m-{n}", 1) for n in range(100)]


@asynccontextmanager
async def many(folder: Path, raw: dict[str, Any] | None = None) -> AsyncIterator[Service]:
    """A service whose source `tilil` takes several events a push, and no two at once."""
    clock = Clock()

    def ticking() -> datetime:
        clock.move(microseconds=1)
        return clock()

    async with opened(folder, raw, ticking) as service:
        serve_many(service)
        yield service


async def events(service: Service) -> list[StoredEvent]:
    """The stored events with their requests, the oldest first."""
    return [each async for each in service.store.reader.events(after=0, request=True, limit=None)]


def keys(stored: Sequence[StoredEvent]) -> list[str]:
    """The keys of events."""
    return [each.key for each in stored]


# Stored


async def test_all_events_of_a_push_are_stored_and_answered_once(tmp_path: Path) -> None:
    """A hundred reports in one push: in their order, with one answer, and each with its request."""
    async with many(tmp_path) as service:
        answer = await take(service, **of(*REPORTS))
        assert replying(answer) == ("delivery:m-0:1", "")
        stored = await events(service)
        assert keys(stored) == [f"delivery:m-{n}:1" for n in range(100)]
        assert {each.request.body for each in stored if each.request} == {b"\n".join(REPORTS)}
        assert all(each.request for each in stored)
        counts = service.intake.counts
        assert counts.outcomes == {("tilil", "stored"): 1}
        assert counts.events == {"sms.delivery.updated": 100}


async def test_the_log_names_the_first_new_event_and_how_many_there_are(tmp_path: Path) -> None:
    """A push of repeats names the first of them."""
    async with many(tmp_path) as service:
        endpoint = service.intake.endpoints["tilil"]
        await take(service, **of(delivery("m", 1)))
        lines = []
        for _ in range(2):
            entry, push = unlogged_entry(), push_of(**of(delivery("m", 1), inbound(1), inbound(2)))
            await service.intake.receive(endpoint, push, entry)
            lines.append(entry)
        report, message, _ = await events(service)
        assert [(line.outcome, line.event_id, line.events) for line in lines] == [
            ("stored", message.event.id, 3),
            ("repeat", report.event.id, 3),
        ]


async def test_a_request_of_many_events_is_kept_once(tmp_path: Path) -> None:
    """The store of one push with a hundred reports is not a hundred requests large."""
    padding = b'{"nothing": "%s"}' % (b"x" * 60_000)
    async with many(tmp_path) as service:
        await take(service, **of(*REPORTS, padding))
        assert len(await events(service)) == 100
    assert (tmp_path / "receiver.db").stat().st_size < 1_000_000


async def test_a_push_may_repeat_an_event_within_itself(tmp_path: Path) -> None:
    """It is stored once, and its reply goes out once."""
    async with many(tmp_path) as service:
        await take(service, **of(inbound(1, "GAME"), delivery("m", 1), inbound(1, "GAME")))
        assert keys(await events(service)) == ["message:1", "delivery:m:1"]
        assert [sent["text"] for sent in await sends(service)] == ["Welcome"]


async def test_events_of_a_push_that_have_one_id_are_told_apart(tmp_path: Path) -> None:
    """The same id with another text is an event of its own, also within a push."""
    async with many(tmp_path) as service:
        push = of(inbound(1, "one"), inbound(1, "two"), inbound(1, "one"))
        for _ in range(2):
            await take(service, **push)
        stored = await events(service)
        assert [each.event.data.text for each in stored] == ["one", "two"]  # type: ignore[union-attr] # messages
        assert service.intake.counts.reused == {"tilil": 1}


async def test_a_push_is_stored_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails after some events are in leaves none of them, and nothing is acknowledged."""

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk full")

    push = of(inbound(1), *REPORTS[:3])
    async with many(tmp_path) as service:
        with monkeypatch.context() as broken:
            broken.setattr("receiver.store.shared_requests.add", full)
            with pytest.raises(StoreUnavailable):
                await take(service, **push)
        assert await events(service) == []
        await take(service, **push)
        assert len(await events(service)) == 4


async def test_overlapping_pushes_at_the_same_instant_store_each_event_once(tmp_path: Path) -> None:
    """In one commit or in several: every event once, every push answered."""
    messages = [inbound(n, "GAME", mobile=f"2547110002{n:02}") for n in range(12)]
    async with many(tmp_path) as service:
        pushes = [of(*messages[start : start + 4]) for start in range(9)]
        answers = await asyncio.gather(*[take(service, **push) for push in pushes * 2])
        assert len(answers) == 18
        stored = await events(service)
        assert sorted(keys(stored)) == sorted(f"message:{n}" for n in range(12))
        assert len(await sends(service)) == 12


# Answered


async def test_the_only_reply_is_in_the_answer(tmp_path: Path) -> None:
    """Of several events one is replied to: its answer is the push's, and nothing is sent."""
    push = of(delivery("m", 1), inbound(1, "hi"), inbound(2, "GAME", mobile=BEN))
    async with many(tmp_path) as service:
        answer = await take(service, **push)
        assert replying(answer) == ("message:2", "Welcome")
        assert answer.content_type == b"application/json"
        assert await take(service, **push) == answer
        assert await sends(service) == []
        assert service.intake.counts.outcomes == {("tilil", "stored"): 1, ("tilil", "repeat"): 1}


async def test_several_replies_are_sent(tmp_path: Path) -> None:
    """The answer is the plain one of the first event, also when the push comes again."""
    push = of(inbound(1, "GAME"), inbound(2, "GAME", mobile=BEN))
    async with many(tmp_path) as service:
        for _ in range(2):
            assert replying(await take(service, **push)) == ("message:1", "")
        assert {sent["to"] for sent in await sends(service)} == {f"+{ANN}", f"+{BEN}"}


async def test_a_push_of_repeats_and_new_events_is_answered_plainly(tmp_path: Path) -> None:
    """What the new ones are replied becomes a message; the old ones get nothing twice."""
    async with many(tmp_path) as service:
        first = await take(service, **of(inbound(1, "GAME")))
        assert replying(first) == ("message:1", "Welcome")
        push = of(inbound(1, "GAME"), inbound(2, "GAME", mobile=BEN))
        for _ in range(2):
            assert replying(await take(service, **push)) == ("message:1", "")
            assert [sent["to"] for sent in await sends(service)] == [f"+{BEN}"]
        assert replying(await take(service, **of(inbound(2, "GAME", mobile=BEN)))) == (
            "message:2",
            "",
        )
        assert await take(service, **of(inbound(1, "GAME"))) == first


async def test_who_opted_out_in_the_same_push_is_not_replied_to(tmp_path: Path) -> None:
    """A STOP holds for what is replied to the other events of its push."""
    raw = settings(plugins={"enabled": ["opt_out", "keyword_reply"]})
    async with many(tmp_path, raw) as service:
        answer = await take(service, **of(inbound(1, "STOP ALL"), inbound(2, "GAME")))
        told = [sent["text"] for sent in await sends(service)]
        assert "Welcome" not in [*told, replying(answer)[1]]


async def test_a_push_waits_for_the_only_event_with_handlers(tmp_path: Path) -> None:
    """Its reply is in the answer; a repeat of the push that comes meanwhile gets the same."""
    push = of(delivery("m", 1), inbound(1, "ask"), inbound(2, "hi"))
    async with many(tmp_path, patient()) as service:
        first = asyncio.create_task(take(service, **push))
        await begun(tmp_path, "ask 1")
        second = asyncio.create_task(take(service, **push))
        await take(service, **of(inbound(9, "hi", mobile=CEE)))  # the repeat was looked up
        assert [first.done(), second.done()] == [False, False]
        go(tmp_path)
        answers = await asyncio.wait_for(asyncio.gather(first, second), 30)
        assert [replying(answer) for answer in answers] == [("message:1", "answer to 1")] * 2
        assert await sends(service) == []


async def test_a_push_with_several_events_for_handlers_does_not_wait(tmp_path: Path) -> None:
    """It is answered at once, and each reply is sent."""
    async with many(tmp_path, patient()) as service:
        answer = await take(service, **of(inbound(1, "ask"), inbound(2, "think", mobile=BEN)))
        assert replying(answer) == ("message:1", "")
        go(tmp_path)

        async def both() -> bool:
            return len(await sends(service)) == 2

        await until_async(both, "two replies to send")
        assert sorted(runs(tmp_path)) == ["ask 1", "think 2"]


async def test_a_push_of_repeats_and_a_new_event_does_not_wait_for_its_handlers(
    tmp_path: Path,
) -> None:
    """The reply is sent, also if the new event comes again while its handler works."""
    async with many(tmp_path, patient()) as service:
        await take(service, **of(delivery("m", 1)))
        answer = await take(service, **of(delivery("m", 1), inbound(1, "ask")))
        assert replying(answer) == ("delivery:m:1", "")
        assert replying(await take(service, **of(inbound(1, "ask")))) == ("message:1", "")
        go(tmp_path)
        (sent,) = await until_async(lambda: sends(service), "a reply to send")
        assert sent["text"] == "answer to 1"
        assert service.intake._answers._undecided == {}


# Items that cannot be read

BAD = b'{"mobile": "254726770792", "message": "no id"}'


async def test_an_item_without_an_event_is_quarantined_and_the_rest_is_stored(
    tmp_path: Path,
) -> None:
    """The request is kept for a look; the provider is answered as for the others alone."""
    async with many(tmp_path) as service:
        answer = await take(service, **of(inbound(1), BAD, inbound(2, mobile=BEN)))
        assert replying(answer) == ("message:1", "")
        assert keys(await events(service)) == ["message:1", "message:2"]
        (kept,) = await service.store.reader.quarantined()
        assert kept.authenticated
        assert kept.reason.startswith("1 of 3 items: ")
        assert kept.request.body == b"\n".join([inbound(1), BAD, inbound(2, mobile=BEN)])
        counts = service.intake.counts
        assert counts.outcomes == {("tilil", "stored"): 1, ("tilil", "malformed"): 1}


async def test_a_push_of_nothing_but_unreadable_items_is_refused(tmp_path: Path) -> None:
    """As one that is malformed as a whole."""
    async with many(tmp_path) as service:
        with pytest.raises(Malformed, match="2 of 2 items"):
            await take(service, **of(BAD, BAD))
        assert len(await service.store.reader.quarantined()) == 1
        assert await events(service) == []


async def test_a_retry_takes_the_mended_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are repeats; while the item cannot be read, the request stays and the rest too."""
    async with many(tmp_path) as service:
        await take(service, **of(inbound(1, "GAME"), BAD))
        outcome = await quarantine.retry(service, None)
        assert (outcome.changed, len(outcome.failures)) == (0, 1)
        assert len(await service.store.reader.quarantined()) == 1
        provider = type(service.intake.endpoints["tilil"].provider)
        item = provider._item  # type: ignore[attr-defined] # of Many

        def mended(self: Any, push: Any, line: bytes) -> Any:
            return item(self, push, inbound(2, "GAME", mobile=BEN) if line == BAD else line)

        monkeypatch.setattr(provider, "_item", mended)
        outcome = await quarantine.retry(service, None)
        assert outcome.changed == 1
        assert await service.store.reader.quarantined() == []
        assert keys(await events(service)) == ["message:1", "message:2"]
        assert [sent["to"] for sent in await sends(service)] == [f"+{BEN}"]


# Whatever happens


async def test_any_grouping_gives_the_same_events_and_one_reply_each(tmp_path: Path) -> None:
    """However events are spread over pushes, with repeats; each push has one answer for ever."""
    chance = random.Random(19)
    async with many(tmp_path) as service:
        for round_ in range(25):
            every = {
                f"{round_}-{n}": inbound(
                    f"{round_}-{n}", ("GAME", "hi")[n % 2], mobile=f"25471{round_:03}{n:04}"
                )
                for n in range(6)
            }
            pushes = [chance.choices(list(every), k=chance.randint(1, 5)) for _ in range(8)]
            bodies = [of(*[every[id_] for id_ in push]) for push in pushes]
            answers = [await take(service, **body) for body in bodies]
            assert [await take(service, **body) for body in bodies] == answers
            came = {id_ for push in pushes for id_ in push}
            replied = {key for key, reply in map(replying, answers) if reply}
            sent = [m["link_id"].replace("link-", "message:") for m in await sends(service)]
            sent = [key for key in sent if key.startswith(f"message:{round_}-")]
            due = sorted(f"message:{id_}" for id_ in came if b"GAME" in every[id_])
            assert sorted([*replied, *sent]) == due, pushes
            stored = [key for key in keys(await events(service)) if f":{round_}-" in key]
            assert sorted(stored) == sorted(f"message:{id_}" for id_ in came)


@pytest.mark.parametrize("told", [False, True])
async def test_a_push_survives_the_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, told: bool
) -> None:
    """Just before its commit or just after it: when it comes again, all is stored and sent once."""
    store = Commits._store

    def ending(commits: Commits, work: list[Any]) -> Any:
        results = store(commits, work) if told else None
        if any(isinstance(each, StoredBundle) for each in work):
            raise SystemExit
        return store(commits, work) if results is None else results

    push = of(inbound(1, "GAME"), delivery("m", 1), inbound(2, "GAME", mobile=BEN))
    with monkeypatch.context() as broken:
        broken.setattr(Commits, "_store", ending)
        async with many(tmp_path) as service:
            with pytest.raises(StoreUnavailable):
                await take(service, **push)
    async with many(tmp_path) as service:
        assert len(await events(service)) == (3 if told else 0)
        answers = [await take(service, **push) for _ in range(2)]
        assert answers[0] == answers[1]
        assert len(await events(service)) == 3
        assert sorted(sent["to"] for sent in await sends(service)) == [f"+{BEN}", f"+{ANN}"]


async def test_a_provider_that_hangs_up_during_the_commit_loses_no_handler(tmp_path: Path) -> None:
    """All events of the push are stored and handled, and their replies sent."""
    async with many(tmp_path, patient()) as service:
        go(tmp_path)
        push = of(inbound(1, "ask"), inbound(2, "think", mobile=BEN))
        first = asyncio.create_task(take(service, **push))
        await asyncio.sleep(0)
        first.cancel()

        async def both() -> bool:
            return len(await sends(service)) == 2

        await until_async(both, "two replies to send")
        assert sorted(runs(tmp_path)) == ["ask 1", "think 2"]


async def test_a_push_that_cannot_be_recorded_fails_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours in one event stores none of its push, and nothing of another's fails."""

    def failing(data: Any) -> bytes:
        if getattr(data, "external_id", None) == "3":
            raise ValueError("a fault of ours")
        return encode_data(data)

    monkeypatch.setattr("receiver.intake.batch.encode_data", failing)
    async with many(tmp_path) as service:
        answers = await asyncio.gather(
            take(service, **of(inbound(1))),
            take(service, **of(inbound(2), inbound(3))),
            take(service, **of(inbound(4), inbound(5))),
            return_exceptions=True,
        )
        assert [isinstance(answer, ValueError) for answer in answers] == [False, True, False]
        assert keys(await events(service)) == ["message:1", "message:4", "message:5"]

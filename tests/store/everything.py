"""Has the program do all that asks something of its store, on connections of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from receiver.actions import Flag, Forward, OptIn, OptOut, Reply, Send, Subscribe, Unsubscribe
from receiver.config import StoreAddress
from receiver.errors import InvalidInput, PushError
from receiver.events import Status
from receiver.outgoing import Schedule, Sent
from receiver.service import counting, renumber, store_metrics
from receiver.service.parts import Service, open_service
from receiver.store import (
    Attempt,
    Correction,
    Failure,
    HandlerActions,
    PurgeKind,
    PurgeRule,
    ReplayRequest,
    ReplyState,
    Report,
    Store,
    StoredBundle,
    Subscribed,
    book,
    bundles,
    campaigns,
    deactivations,
    forgetting,
    forwards,
    handler_results,
    job_changes,
    jobs,
    links,
    message_reports,
    messages,
    open_store,
    purges,
    quarantine,
    recovery,
    replay_writes,
    replies,
    rollups,
    to_micros,
)
from receiver.store.jobs import Origin
from receiver.store.people import StoredPeople
from tests.cli.program import run
from tests.harness import (
    NOW,
    TOKEN,
    Clock,
    delivery,
    inbound,
    parts,
    settings,
    subscription,
    take,
)
from tests.store.rows import RAW, begin, fail, finish, intake, opted_in, opted_out
from tests.store.sql import opened

ANN, BEN, CEE = "+254726770792", "+254711000222", "+254733000333"
LATER = NOW + timedelta(days=400)
_WHY = Failure("no", Status.FAILED, "7")
_KINDS = ("handle", "send", "poll", "forward", "deactivate", "campaign")

_ACTIONS = (
    Send(to=BEN, text="hello", source="tilil"),
    Subscribe(msisdn=ANN, short_code="22915", service_id="44"),
    Unsubscribe(msisdn=ANN, short_code="22915", service_id="44"),
    Subscribe(msisdn=BEN, short_code="22915", service_id="44"),
    OptOut(BEN, "STOP"),
    OptIn(BEN, "START"),
    Forward(target="crm"),
    Flag("near miss of STOP"),
)
_REFUSED: dict[str, Any] = {
    "source": "tilil",
    "authenticated": False,
    "outcome": "malformed",
    "reason": "no JSON",
    "received_at": NOW,
    "client": "192.0.2.1",
    "request": RAW,
    "max_rows": 9,
    "max_bytes": 9999,
}

#: Commands that open no store, those that only make another's requests, and those that are the
#: service itself.
WITHOUT_STORE = frozenset(
    {
        *("init", "check", "serve", "reload", "demo", "send", "balance", "call", "simulate"),
        *("explain", "restore", "fake", "schema", "completion", "console", "providers"),
        "migrate-store",
    }
)
#: Every command that asks the store, with each of its options.
COMMANDS: Sequence[str] = (
    "events",
    "events --noted",
    f"events --msisdn {ANN}",
    "events --type sms.message.received",
    "events --source tilil",
    "events --since 2026-11-01",
    "events --since 2026-11-01 --until today",
    "events --until 2027-01-01 --text hello",
    f"events --msisdn {ANN} --type sms.message.received --source tilil --since 7d --noted --raw",
    f"person {ANN}",
    f"person {ANN} --since 7d --limit 5",
    "messages",
    "messages 1",
    "messages --status failed",
    "messages --source tilil",
    f"messages --msisdn {ANN}",
    "messages --since 2026-11-01",
    "messages --until today --json",
    f"messages --msisdn {ANN} --source tilil --since 7d --until 1d",
    "messages --campaign 1",
    "campaigns",
    "campaigns 1",
    "campaigns resume 1",
    "campaigns pause 1",
    "campaigns cancel 1",
    "messages --state sent",
    "messages --state dead",
    "messages --state unknown --status unknown --source tilil",
    f"messages --source tilil --msisdn {ANN}",
    "jobs",
    "jobs --state dead",
    "jobs --kind send --since 7d --until 1d",
    "jobs run 2",
    "jobs drop 3",
    "jobs forwards",
    "jobs forwards --target crm --since 2026-11-01 --until 2027-01-01",
    "jobs forwards --since 2026-11-01",
    "jobs forwards --until 2027-01-01",
    "jobs retry --all",
    "jobs retry 1",
    "quarantine",
    "quarantine 1",
    "quarantine --source tilil --since 7d --until 1d",
    "quarantine retry --all",
    "subscribers",
    f"subscribers --msisdn {ANN}",
    "subscribers --source tilil",
    "subscribers --service 44",
    "subscribers --short-code 22915",
    "subscribers --keyword GAME",
    "subscribers --state active",
    "subscribers --since 7d --until 1d",
    "subscribers --as-of 2026-11-01",
    "subscribers --history",
    f"subscribers --history --msisdn {ANN}",
    "subscribers --history --source tilil --since 7d --until 1d",
    "subscribers counts",
    "subscribers counts --by service --source tilil --service 44 --short-code 22915 --since 7d",
    "opt-outs",
    f"opt-outs --msisdn {ANN} --since 7d",
    "opt-outs history",
    "opt-outs history --since 7d --until 1d",
    f"opt-outs history --msisdn {ANN}",
    "opt-outs near-misses",
    "opt-outs near-misses --since 2026-11-01 --until 2027-01-01",
    "opt-outs near-misses --since 2026-11-01",
    f"opt-outs add {BEN}",
    f"opt-outs remove {BEN}",
    "audit",
    "audit --since 7d",
    "audit --until 1d",
    "audit --since 7d --until 1d",
    "report",
    "report --by day,keyword --since 7d --until 1d",
    "report --by source,service,status",
    "report --by network",
    "doctor",
    "backup copy.db",
    "purge --older-than 30d --dry-run",
    "purge --older-than 30d --kind requests --source tilil",
    "replay --all",
    "replay --all --apply --all-events",
    "replay --source tilil",
    f"replay --msisdn {ANN} --type sms.message.received --source tilil --since 7d --until 1d",
    f"forget {BEN}",
    f"forget {BEN} --force",
)


def do_everything(folder: Path, url: str = "sqlite:receiver.db") -> None:
    """All that serving does, all that the store can do, and every command that asks it."""
    asyncio.run(_serve(folder, url))
    for command in COMMANDS:
        result = run(folder, *command.split())
        assert result.returncode in (0, 1), (command, result.stderr)


async def _serve(folder: Path, url: str) -> None:
    raw = settings(
        store={"url": url},
        retention={"requests": "30d", "events": "60d", "messages": "60d", "keys": "90d"},
    )
    raw["sources"]["tilil"]["former_names"] = ["old"]
    raw["sources"]["tilil"]["send"] = {"api_key": "key", "sender": "S", "url": "http://127.0.0.1:9"}
    made, clock = parts(folder, raw), Clock()
    async with open_store(made.config.store_address) as store:
        await _writes(store)
        await _looks(store)
    # Nothing works in the background: what it asks was asked above, each time the same.
    async with open_service(made, clock, work=False) as service:
        await _pushes(service, clock)
    _earlier(made.config.store_address)
    async with open_service(made, clock, work=False) as service:
        await renumber.beside_serving(service.store, made.providers)


def _earlier(store: StoreAddress) -> None:
    """As of a program that kept numbers as they came, and of a source that has a new name."""
    with opened(store) as db:
        db.execute("UPDATE meta SET text = '[0,null]' WHERE key = 'numbers'")
        for table in ("events", "people"):
            db.execute(f"UPDATE {table} SET subject = substr(subject, 2)")
        for table in ("opt_outs", "opt_out_history", "subscriptions", "subscription_history"):
            db.execute(f"UPDATE {table} SET msisdn = substr(msisdn, 2)")
        db.execute("UPDATE messages SET msisdn = substr(msisdn, 2), sender = '0712345678'")
        db.execute(
            "UPDATE jobs SET payload = '{\"msisdn\":\"0712345678\"}' WHERE kind = 'deactivate'"
        )
        db.execute("UPDATE links SET link_id = '0'")
        for table in ("subscriptions", "messages", "message_ids", "reports", "jobs"):
            db.execute(f"UPDATE {table} SET source = 'old' WHERE source = 'tilil'")
        db.execute("INSERT INTO message_ids VALUES ('old', '1', 1)")
        # The same key under both names, with another content.
        db.execute(
            "INSERT INTO events (seq, source, key, provider, type, subject, time, received_at,"
            " data, answer, reply) SELECT seq + 4095, 'old', key, provider, type, '+254733000333',"
            " time, received_at, data, answer, reply FROM events WHERE type <> '' LIMIT 1"
        )


async def _pushes(service: Service, clock: Clock) -> None:
    """Messages, their repeats, words of subscriptions, reports; and what cannot be used."""
    for number, text in enumerate(("GAME", "STOP", "START", "hello")):
        await take(service, inbound(number, text))
    await take(service, inbound(0, "GAME"))
    await take(service, inbound(0, "another text"))
    await take(service, inbound(0, "another text", mobile=BEN[1:]))
    for update in ("activation", "activation", "deactivation"):
        await take(service, subscription(update, "20261119100000"))
    for update in ("activation", "deactivation", "deactivation"):
        await take(service, subscription(update, ""))
        clock.move(hours=2)
    for status in (1, 2):
        await take(service, delivery("m-1", status), token=TOKEN)
    with suppress(PushError):
        await take(service, b"{", token=TOKEN)
    await counting.count_some(service.store)


async def _looks(store: Store) -> None:
    """What is looked up while serving and by commands."""
    reader, now = store.reader, NOW
    await store_metrics.look(reader.metrics, ["tilil"], now)
    await store_metrics.Newest(reader.metrics).look(["tilil", "silent"])
    for kind in _KINDS:
        await reader.jobs(state="due", kind=kind, due=LATER)
    await reader.jobs(id_=1, state="due", due=now)
    await reader.jobs(events=[1, 2])
    await reader.jobs(subject=ANN)
    await reader.jobs(message=1, state="dead")
    assert [job async for job in reader.every_job()]
    assert [line async for line in reader.subscriptions.find(after=("", "", "", ""))]
    [first, *_] = [line async for line in reader.subscriptions.lines()]
    assert [line async for line in reader.subscriptions.lines(place=first.place)]
    assert not [line async for line in reader.opt_outs.every(until=NOW - timedelta(days=400))]
    await reader.work.lanes(now)
    for kind in _KINDS:
        await reader.work.due(kind, "tilil", now, limit=10)
    await reader.messages.attempts("tilil", now)
    await reader.messages.reports(1)
    for filters in ({"id_": 1}, {"events": [1]}, {"state": "waiting"}):
        await reader.messages.find(**filters)
    await reader.event("no id")
    await reader.event(store.ids.text(1))
    await reader.event_by_seq(1)
    await reader.sources()
    await reader.last_seq()
    await reader.lowest_of(1, NOW)
    with suppress(InvalidInput):
        await reader.whole_id("0")
    await reader.work.sending_since(1)
    for asked in ({}, {"event": 1}, {"event": 1, "target": "crm"}):
        assert not [attempt async for attempt in reader.forwards.every(**asked, since=LATER)]
    await reader.metrics.uncounted()
    await reader.quarantined(before=9)
    await reader.opt_outs.blocking(ANN, sender=None, service_id=None)
    for after in (None, 1):
        assert [event async for event in reader.events(after=after)]
    await reader.purges.trusted()
    for kind in PurgeKind:
        await reader.purges.batch(PurgeRule(kind=kind, before=LATER), 0)
    with closing(StoredPeople(store.address)) as people:
        people.is_subscriber(ANN)
        people.history(ANN)
        for moment in (nullcontext(), people.before(2**62)):
            with moment:
                people.subscriptions(ANN)
                people.has_opted_out(ANN)


async def _writes(store: Store) -> None:
    """What the writer's thread does."""
    report = Report(message_id="x", status=Status.DELIVERED, opted_out=True)
    handler_actions = HandlerActions(handler="mine.inline", actions=_ACTIONS)
    first = await store.take(
        intake(store, "a", jobs=("mine.one", "mine.two"), handler_actions=(handler_actions,))
    )
    open_ = await store.take(intake(store, "b", state=ReplyState.OPEN, jobs=("mine.one",)))
    second = await store.take(intake(store, "f", jobs=("mine.one",)))
    await store.take(intake(store, "n", subject=None, text="one"))
    await store.take(intake(store, "n", subject=None, text="another"))
    await _bundles(store)
    reply = Reply("hello")
    await store.take(intake(store, "c", subject=BEN, reply=reply, reply_in_answer=False))
    for number, (id_, person) in enumerate((("x", None), ("x", ANN), ("y", CEE))):
        heard = msgspec.structs.replace(report, message_id=id_)
        push = intake(store, f"d{number}", subject=person)
        await store.take(msgspec.structs.replace(push, report=heard))
    silent = Reply("hello", if_changed=True)
    await store.take(
        intake(store, "e", handler_actions=(handler_actions,), reply=silent, reply_in_answer=False)
    )
    late_reply = finish(open_.jobs[0], open_.seq, reply, answer=b"late", note="n", last=True)
    for done in (
        late_reply,
        finish(first.jobs[0], first.seq, reply, *_ACTIONS),
        finish(first.jobs[0], first.seq),
    ):
        await store.run(handler_results.finish, done)
    await store.run(replies.settle, first.seq)
    await store.run(replies.settle_all, 0, 1)
    await fail(store, first.jobs[1], NOW, "no")
    await fail(store, first.jobs[1], None, "no")
    await store.run(
        replay_writes.replay,
        [
            ReplayRequest(
                seq=first.seq, reply=reply, replied_by="x", handler_actions=(handler_actions,)
            )
        ],
        NOW,
    )
    late = HandlerActions(handler="mine.one", actions=_ACTIONS)
    await store.run(
        replay_writes.replay, [ReplayRequest(seq=second.seq, handler_actions=(late,))], NOW
    )
    again = ReplayRequest(
        seq=first.seq,
        reply=reply,
        handlers=("mine.two",),
        again=True,
        handler_actions=(handler_actions,),
    )
    await store.run(replay_writes.replay, [again], NOW)
    await _messages(store)
    await _campaigns(store)
    await _chores(store, first.seq)


async def _bundles(store: Store) -> None:
    """Pushes of several events: new ones, repeats of an earlier one, and both."""
    reply = Reply("hello")
    for ids in ("pq", "pq", "pr"):
        pushes = [
            intake(store, id_, reply=reply, state=ReplyState.GIVEN, request=b"") for id_ in ids
        ]
        pushes[0] = intake(store, ids[0], request=b"")
        bundle = StoredBundle(pushes=tuple(pushes), request=RAW, unread=True)
        taken = await store.run(bundles.take, bundle)
    assert await store.run(purges.drop, PurgeKind.REQUESTS, [taken.seq])


async def _chores(store: Store, event: int) -> None:
    """Commands, upkeep, and what goes by its age."""
    await opted_out(store, OptOut(ANN, "operator"), NOW)
    await opted_in(store, OptIn(ANN, "operator"), NOW)
    corrections = [Correction(msisdn=ANN, source="tilil", active=True)]
    await store.run(book.correct, corrections, time=NOW, now=NOW, reason="x")
    ended = Subscribed(msisdn=ANN, short_code="22915", service_id="44")
    origin = Origin(time=0, received_at=0, now=0)
    await store.run(deactivations.add, origin, "mine.one", ended, "tilil")
    (told, *_) = await store.reader.work.due("deactivate", "tilil", NOW, limit=1)
    await store.run(book.end_deactivation, told.id, 0, "tilil", ended, to_micros(NOW))
    await store.run(deactivations.add, origin, "mine.one", ended, "tilil")
    await store.reader.persons.without_subject([event])
    await _queue(store)
    await store.run(quarantine.add, **_REFUSED)
    await store.run(jobs.move, 1)
    await store.run(jobs.bring_forward, to_micros(NOW), to_micros(LATER))
    await store.run(message_reports.tidy, to_micros(LATER))
    await store.run(rollups.step)
    await store.run(purges.trust_clock, NOW)
    await store.check()
    await store.run(purges.drop, PurgeKind.QUARANTINE, [1])
    await store.run(purges.drop, PurgeKind.REQUESTS, [event])
    for whole in (False, True):
        await store.run(purges.drop, PurgeKind.MESSAGES, [1], wanted_or_not=whole)
        await store.run(purges.drop, PurgeKind.EVENTS, [event], wanted_or_not=whole)
    await store.run(forgetting.rename_keys, [event])
    await store.run(purges.drop, PurgeKind.KEYS, [event])


async def _queue(store: Store) -> None:
    """Jobs that are claimed, and those of a lane together."""
    now = to_micros(NOW)
    us = store.membership
    owner = await store.run(us.take_over, now)
    await store.run(recovery.recover, us, now, ())
    await store.run(jobs.release_all, owner)
    await store.run(jobs.claimed_for, owner, [1])
    await store.run(messages.give_back, owner, [1])
    await store.take(
        msgspec.structs.replace(intake(store, "claimed", jobs=("mine.one",)), owner=owner)
    )
    await store.run(jobs.claim, owner, [1])
    await store.run(jobs.hand_back, owner)
    attempt = forwards.Attempted(job=1, event=1, target="crm", handler="x", answer="503")
    await store.run(forwards.failed, attempt, owner, now, now)
    last = await store.run(jobs.last)
    await store.run(forwards.taken, msgspec.structs.replace(attempt, job=last), 0, now)
    (event,) = [stored.seq async for stored in store.reader.events(limit=1)]
    note = msgspec.structs.replace(attempt, event=event)
    await store.run(forwards.failed, note, owner, now, now)
    assert await store.run(forwards.again, event, None, now) == ["crm"]
    for change in (job_changes.run, job_changes.drop):
        await store.run(change, await store.run(jobs.last), now)
    await store.run(jobs.hurry_lane, "forward", "crm", now)
    await store.run(jobs.bury, "forward", "crm", now, "no")


async def _campaigns(store: Store) -> None:
    """A campaign with a message of every fate, and others that do not get so far."""
    now, people = to_micros(NOW), [f"+25471100030{number}" for number in range(8)]
    origin, schedule = jobs.by_operator(NOW), Schedule(start_at=NOW)
    ids = [
        await store.run(campaigns.create, origin, "operator", "tilil", schedule) for _ in range(3)
    ]
    added = [campaigns.Person(person, "news") for person in people]
    for id_ in ids:
        await store.run(campaigns.add, id_, added, now)
    await store.run(campaigns.change, ids[0], "start", now)
    reader = store.reader.campaigns
    assert await store.reader.work.due("campaign", "tilil", NOW, limit=9)
    found = [one.id for one in await reader.waiting(ids[0], limit=9)]
    chunk = [Attempt(id_, to) for id_, to in zip(found, people, strict=True)]
    await store.run(campaigns.begin, ids[0], [chunk[:2], chunk[2:5]], now, 0, now)
    ends = [
        messages.Outcome(found[0], Sent(message_id="c1"), now),
        messages.Outcome(found[1], _WHY, now),
        messages.Outcome(found[2], Failure("no answer", Status.UNKNOWN), now),
        messages.Outcome(found[3], _WHY, now, again=True),
        messages.Outcome(found[4], _WHY, now, due=now),
    ]
    await store.run(campaigns.settle, ids[0], ends, now)
    await store.run(campaigns.refuse_all, [(found[3], _WHY)], now)
    await store.run(campaigns.change, ids[1], "start", now)
    await store.run(campaigns.pause_lane, "tilil", now, "no")
    await store.run(campaigns.change, ids[2], "cancel", now)
    await store.run(campaigns.cancel_some, ids[2], now)
    await reader.every(limit=9)
    await reader.find(ids[0])
    await reader.counts(ids[0])
    await reader.reasons(ids[0], "dead")


async def _messages(store: Store) -> None:
    """A message of every fate."""
    now = to_micros(NOW)
    wish = Send(to=CEE, text="hello", source="tilil", sender="S")
    taken = Sent(status=Status.SENT, message_id="x")
    parts = Sent(message_id="7", further_ids=("8",))
    fates: list[Callable[[int], Any]] = [
        lambda id_: store.run(messages.sent, id_, now, taken, now),
        lambda id_: store.run(messages.sent, id_, now, parts, now),
        lambda id_: store.run(messages.put_off, id_, now, now, _WHY),
        lambda id_: store.run(messages.kill, id_, now, _WHY),
        lambda id_: store.run(messages.lose, id_, now, _WHY),
        lambda id_: store.run(messages.split, id_, now, ["a", "b"]),
        lambda id_: store.run(links.mark_link, id_, now),
        lambda _: store.run(messages.recover, now, []),
    ]
    made: list[int] = []
    for fate in fates:
        linked = msgspec.structs.replace(wish, link_id=f"L{len(made)}")
        id_ = await store.add_message(linked, NOW)
        made.append(id_)
        await begin(store, id_, CEE, sender="S")
        await fate(id_)
    told = Report(message_id="8", status=Status.DELIVERED)
    await store.take(msgspec.structs.replace(intake(store, "a part", subject=None), report=told))
    await store.run(messages.split, await store.add_message(wish, NOW), now, ["a", "b"])
    both = [Attempt(await store.add_message(wish, NOW), CEE) for _ in range(2)]
    await store.run(messages.begin, both, now, 1)
    await store.revive(None, NOW)
    report = Report(message_id="x", status=Status.FAILED, link_invalid=True)
    await store.take(msgspec.structs.replace(intake(store, "z", subject=None), report=report))
    await store.run(purges.drop, PurgeKind.MESSAGES, made)

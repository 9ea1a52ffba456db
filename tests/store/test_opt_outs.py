"""Who must not be messaged, by whom and about what: the rules, the history, the network's word."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.actions import Send
from receiver.config import StoreAddress
from receiver.events import DeliveryReport, EventType, Status, SubscriptionChange, encode_data
from receiver.handlers import Flag, OptIn, OptOut, Reply
from receiver.outgoing import Sent
from receiver.store import (
    Attempt,
    HandlerActions,
    Report,
    Store,
    StoredPush,
    handler_results,
    messages,
    open_reader,
    to_micros,
)
from receiver.store import opt_out_lines as lines
from receiver.store import opt_outs as rules
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.engine.sqlite.schema import APPLICATION_ID, migrations
from receiver.store.jobs import Origin
from receiver.store.opt_out_rule import blocks
from receiver.store.people import StoredPeople
from receiver.store.tx import Tx
from receiver.text.msisdn import ours
from tests.harness import NOW
from tests.store.conftest import Stores
from tests.store.rows import PERSON, begin, finish, intake, opened, opted_in, opted_out
from tests.store.sql import look

pytestmark = pytest.mark.anyio

CODE, SERVICE = "22915", "32"  # what `intake` is about
Scope = tuple[str | None, str | None]

codes = st.sampled_from([None, "22915", "70700", "+447786200000", "Shop", "SHOP"])
services = st.sampled_from([None, "32", "44"])
changes = st.lists(st.tuples(st.booleans(), codes, services), max_size=8)


def carried_out(db: Tx, *asked: tuple[bool, str | None, str | None]) -> None:
    """Opts the person out (True) or in, of a short code and a service."""
    origin = Origin(source="tilil", time=0, received_at=0, now=0)
    for out, code, service in asked:
        if out:
            rules.opt_out(db, origin, "mine.rule", OptOut(PERSON, "STOP", code, service))
        else:
            rules.opt_in(db, origin, OptIn(PERSON, "START", code, service))


def meet(one: str | None, other: str | None) -> bool:
    """Whether there are messages that both are about; None is about all."""
    return not one or not other or ours(one) == ours(other)


@given(changes, codes, services)
def test_what_stands_in_the_way(
    stores: Stores,
    asked: list[tuple[bool, str | None, str | None]],
    code: str | None,
    service: str | None,
) -> None:
    """An opt-out lasts until an opt-in that meets it, and blocks the messages it is about."""
    left: set[tuple[str | None, str | None]] = set()
    for out, its_code, its_service in asked:
        if out:
            left.add((its_code, its_service))
        else:
            left = {x for x in left if not (meet(x[0], its_code) and meet(x[1], its_service))}
    expected = any(
        (not x[0] or ours(x[0]) == ours(code)) and (not x[1] or x[1] == service) for x in left
    )
    with stores.scratch() as db:
        carried_out(db, *asked)
        assert lines.blocked(db, PERSON, code, service) is expected
        read = lines.lines_of(db, [PERSON, "+254711000001", None])
        assert blocks(read.get(PERSON, []), code, service) is expected
        assert set(read) <= {PERSON}
        assert db.execute("SELECT count(*) FROM opt_out_history").fetchone() == (len(asked),)


@given(changes, codes, services)
def test_an_opt_in_leaves_nothing_in_the_way(
    stores: Stores,
    asked: list[tuple[bool, str | None, str | None]],
    code: str | None,
    service: str | None,
) -> None:
    """Whatever came before, after START the messages of its scope may be sent."""
    with stores.scratch() as db:
        carried_out(db, *asked, (False, code, service))
        assert not lines.blocked(db, PERSON, code, service)


def test_a_narrow_opt_out_outlasts_a_wide_one(stores: Stores) -> None:
    """Who is out of everything and of 22915 stays out of 22915 when let in to 70700 again."""
    with stores.scratch() as db:
        carried_out(db, (True, None, None), (True, "22915", None), (False, "70700", None))
        assert lines.blocked(db, PERSON, "22915", None)
        assert not lines.blocked(db, PERSON, "70700", None)


async def test_many_people_in_a_batch(address: StoreAddress) -> None:
    """More of them than one statement takes are all found."""
    async with opened(address) as store:
        people = [f"+2547110{n:05}" for n in range(150)]
        for person in people:
            await opted_out(store, OptOut(person), NOW)
        found = await store.writer.run(lambda db: lines.lines_of(db, people))
        assert dict(found) == {person: [("", "")] for person in people}


IN_THE_WAY = [(None, None), (CODE, None), (None, SERVICE), (CODE, SERVICE)]
ELSEWHERE = [("70700", None), (None, "44"), (CODE, "44"), ("70700", SERVICE)]


@pytest.mark.parametrize("in_answer", [True, False])
@pytest.mark.parametrize(("code", "service"), [*IN_THE_WAY, *ELSEWHERE])
async def test_a_reply_obeys_the_scope(
    address: StoreAddress, *, code: str | None, service: str | None, in_answer: bool
) -> None:
    """It is withheld by an opt-out of the address written to or of the service, not by others."""
    async with opened(address) as store:
        await opted_out(store, OptOut(PERSON, "STOP", code, service), NOW)
        taken = await store.take(intake(store, 1, reply=Reply("hi"), reply_in_answer=in_answer))
        sent = await store.reader.messages.find()
        withheld = (code, service) in IN_THE_WAY
        assert (taken.answer == b"plain") is withheld
        assert bool(sent) is (not withheld and not in_answer)


@pytest.mark.parametrize(("code", "service"), [*IN_THE_WAY, *ELSEWHERE])
async def test_a_late_reply_obeys_the_scope(
    address: StoreAddress, code: str | None, service: str | None
) -> None:
    """So does one that comes after the answer."""
    async with opened(address) as store:
        taken = await store.take(intake(store, 1, jobs=["mine.handler"]))
        await opted_out(store, OptOut(PERSON, "STOP", code, service), NOW)
        await store.run(handler_results.finish, finish(taken.jobs[0], taken.seq, Reply("late")))
        sent = await store.reader.messages.find()
        assert bool(sent) is ((code, service) in ELSEWHERE)


@pytest.mark.parametrize(("code", "service"), [(None, None), ("22915", None), (None, "44")])
async def test_a_goodbye_obeys_the_scope(
    address: StoreAddress, code: str | None, service: str | None
) -> None:
    """A deactivation names its short code otherwise than a message does; it is withheld too."""
    async with opened(address) as store:
        await opted_out(store, OptOut(PERSON, "STOP", code, service), NOW)
        change = SubscriptionChange(msisdn=PERSON, short_code="22915", service_id="44")
        left = intake(store, 1, reply=Reply("bye"), reply_in_answer=True)
        row = msgspec.structs.replace(
            left.row, type=str(EventType.SUBSCRIPTION_DEACTIVATED), data=encode_data(change)
        )
        taken = await store.take(msgspec.structs.replace(left, row=row))
        assert taken.answer == b"plain"


@pytest.mark.parametrize(
    ("scope", "attempt", "withheld"),
    [
        (("SHOP", None), ("SHOP", None), True),
        (("shop", None), ("SHOP", None), True),
        (("+447786200000", None), ("+447786200000", None), True),
        (("SHOP", None), ("22915", None), False),
        (("SHOP", None), (None, None), False),
        ((None, "44"), ("SHOP", "44"), True),
        ((None, "44"), ("SHOP", None), False),
        ((None, None), ("SHOP", "44"), True),
    ],
)
async def test_a_message_obeys_the_scope(
    address: StoreAddress, scope: Scope, attempt: Scope, *, withheld: bool
) -> None:
    """At the last moment before it is sent, by the sender and service that it really has."""
    async with opened(address) as store:
        message = await store.add_message(Send(source="tilil", to=PERSON, text="hi"), NOW)
        await opted_out(store, OptOut(PERSON, "STOP", *scope), NOW)
        beginning = [Attempt(message, PERSON, *attempt)]
        (gone,) = await store.run(messages.begin, beginning, to_micros(NOW), 86_400_000_000)
        assert (gone is not None) is withheld


@pytest.mark.parametrize("early", [True, False], ids=["before the answer", "after it"])
async def test_the_network_means_the_sender_of_the_message(
    address: StoreAddress, *, early: bool
) -> None:
    """A report that names no person opts out who its message was for, of that message's sender."""
    async with opened(address) as store:
        message = await store.add_message(Send(source="tilil", to=PERSON, text="hi"), NOW)
        beginning = [Attempt(message, PERSON, "SHOP")]
        assert await store.run(messages.begin, beginning, to_micros(NOW), 86_400_000_000) == [None]
        if early:
            await store.take(blacklisted(store, "M1"))
        await store.run(
            messages.sent, message, to_micros(NOW), Sent(message_id="M1", status=Status.QUEUED)
        )
        if not early:
            await store.take(blacklisted(store, "M1"))
        (entry,) = await store.reader.opt_outs.find()
        assert (entry.msisdn, entry.short_code, entry.service_id) == (PERSON, "SHOP", "")
        assert (entry.reason, entry.source) == ("network", "tilil")
        (changed,) = await store.reader.opt_outs.history()
        assert changed.event is not None


async def test_the_network_about_nobody(address: StoreAddress) -> None:
    """A report about no message of ours opts nobody out, and neither does an ordinary one."""
    async with opened(address) as store:
        await store.take(blacklisted(store, "M1"))
        message = await store.add_message(Send(source="tilil", to=PERSON, text="hi"), NOW)
        await begin(store, message)
        await store.run(
            messages.sent, message, to_micros(NOW), Sent(message_id="M2", status=Status.QUEUED)
        )
        await store.take(blacklisted(store, "M2", opted_out=False))
        assert await store.reader.opt_outs.find() == []


def blacklisted(store: Store, id_: str, *, opted_out: bool = True) -> StoredPush:
    """A delivery report that names the message alone."""
    data = DeliveryReport(message_id=id_, status=Status.REJECTED, opted_out=opted_out)
    plain = intake(store, f"report-{id_}", subject=None)
    row = msgspec.structs.replace(
        plain.row, type=str(EventType.DELIVERY_UPDATED), data=encode_data(data)
    )
    report = Report(message_id=id_, status=Status.REJECTED, opted_out=opted_out)
    return msgspec.structs.replace(plain, row=row, report=report)


async def test_the_history_is_kept(address: StoreAddress) -> None:
    """Each change, newest first, with its scope, also those that changed nothing."""
    async with opened(address) as store:
        await opted_out(store, OptOut(PERSON, "STOP", "+447786200000"), NOW)
        await opted_out(store, OptOut(PERSON, "STOP", "+447786200000"), NOW)
        await opted_out(store, OptOut("+254711000001", "END", service_id="44"), NOW)
        await opted_in(store, OptIn(PERSON, "START"), NOW + timedelta(minutes=1))
        history = await store.reader.opt_outs.history(msisdn=PERSON)
        assert [(c.change, c.short_code, c.reason) for c in history] == [
            ("in", "", "START"),
            ("out", "+447786200000", "STOP"),
            ("out", "+447786200000", "STOP"),
        ]
        assert len(await store.reader.opt_outs.history()) == 4
        (newest,) = await store.reader.opt_outs.history(limit=1)
        assert (newest.time, newest.event) == (NOW + timedelta(minutes=1), None)


@pytest.mark.parametrize("person", [None, PERSON])
async def test_opt_outs_are_read_back_from_a_time(
    address: StoreAddress, person: str | None
) -> None:
    """Of all people, or of one: those before it, newest first."""
    async with opened(address) as store:
        for number, code in enumerate(("22915", "22916", "22917")):
            at = NOW + timedelta(minutes=number)
            await opted_out(store, OptOut(PERSON, "STOP", code), at)
        every = store.reader.opt_outs.every(person, until=NOW + timedelta(minutes=2))
        assert [entry.short_code async for entry in every] == ["22916", "22915"]


async def test_near_misses_are_listed(address: StoreAddress) -> None:
    """With who wrote what to which address, and whether that is settled; other flags are not."""
    async with opened(address) as store:
        for id_, reason in ((1, "near miss of STOP"), (2, "rude")):
            handler_actions = HandlerActions(handler="opt_out.opt", actions=(Flag(reason),))
            taken = await store.take(intake(store, id_, handler_actions=[handler_actions]))
            if id_ == 1:
                first = taken.seq
        (miss,) = [each async for each in store.reader.opt_outs.every_near_miss()]
        assert (miss.event, miss.msisdn, miss.to) == (store.ids.text(first), PERSON, CODE)
        assert (miss.reason, miss.source) == ("near miss of STOP", "tilil")
        assert not miss.opted_out
        await opted_out(store, OptOut(PERSON), NOW)
        (miss,) = [each async for each in store.reader.opt_outs.every_near_miss()]
        assert miss.opted_out


async def test_handlers_see_any_form_of_an_address(address: StoreAddress) -> None:
    """`has_opted_out` knows a number of ours however it is written."""
    async with opened(address) as store:
        await opted_out(store, OptOut(PERSON, "STOP", "+447786200000"), NOW)
        people = StoredPeople(store.address)
        assert people.has_opted_out(PERSON, short_code="447786200000")
        assert not people.has_opted_out(PERSON, short_code="22915")
        assert not people.has_opted_out(PERSON)
        people.close()


async def test_opt_outs_of_schema_2_are_about_everything(tmp_path: Path) -> None:
    """A store of before there were scopes opens with all its opt-outs and their history."""
    file = tmp_path / "receiver.db"
    old: list[tuple[Any, ...]] = [
        (PERSON, 1, "STOP", "tilil", 7),
        ("+254711000001", 2, "x", None, None),
    ]
    with closing(sqlite3.connect(file)) as db:
        db.executescript("".join(migrations()[:2]))
        db.execute("INSERT INTO meta VALUES ('node', 1)")
        db.executemany("INSERT INTO opt_outs VALUES (?, ?, ?, ?, ?)", old)
        db.execute(
            "INSERT INTO opt_out_history VALUES (1, ?, 'out', 1, 'STOP', 'tilil', 7)", [PERSON]
        )
        db.execute("PRAGMA user_version = 2")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.commit()
    open_writer(file).close()
    columns = "msisdn, time, reason, source, event, short_code, service_id"
    assert look(file, f"SELECT {columns} FROM opt_outs ORDER BY time") == [
        (*line, "", "") for line in old
    ]
    async with open_reader(file) as reader:
        (change,) = await reader.opt_outs.history()
        assert (change.msisdn, change.short_code, change.service_id) == (PERSON, "", "")
        blocking = await reader.opt_outs.blocking(PERSON, sender="22915", service_id="32")
        assert blocking is not None
